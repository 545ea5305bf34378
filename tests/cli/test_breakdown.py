from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy_cli.breakdown import by_type, print_sources
from claudeproxy_cli.options import Format

if TYPE_CHECKING:
    import pytest


def _row(label: str, tokens: int, *, accuracy: str = "estimated") -> dict[str, object]:
    kind = label.partition(":")[0]
    return {
        "label": label,
        "source_type": kind,
        "token_count": tokens,
        "share": tokens / 1000,
        "accuracy": accuracy,
        "cost": "0.0000005",
    }


def _printed(
    capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], *, everything: bool = False
) -> list[str]:
    """The table's lines; the first source is made of three kinds, the others of none that is known."""
    kinds = [{"label": rows[0]["label"], "kind": kind, "token_count": 1} for kind in ("call", "result", "schema")]
    print_sources(rows, kinds, Format.TABLE, everything=everything)
    return capsys.readouterr().out.splitlines()


def test_types_are_summed_and_the_largest_named_first() -> None:
    rows = [_row("Tool: a", 100), _row("Skill: b", 250), _row("Tool: c", 200), _row("User", 4)]
    assert by_type(rows) == "30% Tool, 25% Skill"
    assert by_type([]) == ""


def test_small_sources_share_a_line_where_that_saves_some(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_row("Tool: a", 900), *(_row(f"Skill: {n}", 4) for n in range(4))]
    folded = _printed(capsys, rows)
    assert folded[2].split() == ["Tool:", "a", "~900", "90.0%", "<$0.000001", "call", "1,", "result", "1,", "…"]
    assert folded[3].split() == ["4", "smaller", "ones:", "--all", "~16", "1.6%", "$0.000002"]
    assert len(_printed(capsys, rows, everything=True)) == 7
    assert len(_printed(capsys, rows[:-1])) == 6


def test_accuracy_is_said_once_where_it_is_the_same_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    same, mixed = [_row("User", 10), _row("Tool: a", 10)], [_row("User", 10), _row("Tool: a", 10, accuracy="exact")]
    assert _printed(capsys, same)[0] == "where the context came from (tokens: estimated)"
    lines = _printed(capsys, mixed)
    assert lines[0] == "where the context came from"
    assert [line.split()[-1] for line in lines[1:]] == ["accuracy", "estimated", "exact"]
