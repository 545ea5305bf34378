from __future__ import annotations

import csv
import io
import json

import pytest

from claudeproxy_cli.options import Format
from claudeproxy_cli.render import RULE, Column, cell_width, compact, cut, emit, fit, note, number, plain

COLUMNS = (
    Column(key="id", title="id"),
    Column(key="name", title="name", flexible=True),
    Column(key="tokens", title="tokens", text=number, align="right"),
    Column(key="extra", title="extra", optional=True),
)
ROWS = [
    {"id": "a1", "name": "[bold]MCP[/bold]: d\x1b[31mocs\n2", "tokens": 12345, "extra": "x" * 30, "more": [1]},
    {"id": "b2", "name": "=1+1", "tokens": None, "extra": None},
]


def test_json_carries_rows_whole(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, COLUMNS, Format.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS
    emit(ROWS, COLUMNS, Format.JSON, document={"rows": ROWS})
    assert json.loads(capsys.readouterr().out) == {"rows": ROWS}


def test_json_lines_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, COLUMNS, Format.JSONL)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_no_json_puts_an_escape_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, COLUMNS, Format.JSONL)
    assert "\x1b" not in capsys.readouterr().out


def test_half_a_character_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"id": "\ud83d"}], COLUMNS, Format.JSONL)
    assert json.loads(capsys.readouterr().out) == {"id": "\ud83d"}


def test_csv_has_a_header_and_no_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, COLUMNS, Format.CSV)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        ["id", "name", "tokens", "extra"],
        ["a1", "[bold]MCP[/bold]: d[31mocs 2", "12345", "x" * 30],
        ["b2", "'=1+1", "", ""],
    ]


def test_piped_rows_are_tab_separated_lines_without_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, COLUMNS, Format.LINES)
    assert capsys.readouterr().out.splitlines() == [
        f"a1\t[bold]MCP[/bold]: d[31mocs 2\t12,345\t{'x' * 30}",
        "b2\t=1+1\t-\t",
    ]


def test_a_table_shows_markup_as_text_and_numbers_to_the_right(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    emit(ROWS, COLUMNS, Format.TABLE, title="what there is")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "what there is",
        "id  name                          tokens  extra",
        f"a1  [bold]MCP[/bold]: d[31mocs 2  12,345  {'x' * 30}",
        "b2  =1+1                               -",
    ]


@pytest.mark.parametrize("width", ["40", "60", "80"])
def test_a_table_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    wide = [{**row, "name": "界" * 60} for row in ROWS]
    emit(wide, COLUMNS, Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(cell_width(line) for line in lines) <= int(width)
    assert "12,345" in lines[1]


def test_an_optional_column_goes_before_a_needed_one_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    emit(ROWS, COLUMNS, Format.TABLE)
    assert "xxx" not in capsys.readouterr().out


def test_a_table_of_nothing_is_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], COLUMNS, Format.TABLE)
    assert capsys.readouterr().out.split() == ["id", "name", "tokens", "extra"]


def test_what_would_drive_a_terminal_is_taken_out() -> None:
    assert plain("a\tb\r\nc\u2028d") == "a b  c d"
    assert plain("\x1b]0;title\x07\x9b31m\u202eevil\u2066\x7f") == "]0;title31mevil"


def test_numbers_are_readable() -> None:
    assert [number(v) for v in (0, 1234567, None, 1.5)] == ["0", "1,234,567", "-", "1.5"]
    assert [compact(v) for v in (0, 999, 1000, 12_345, 123_456, 1_234_567, None)] == [
        "0",
        "999",
        "1.0k",
        "12.3k",
        "123k",
        "1.2M",
        "-",
    ]


def test_notes_do_not_mix_with_data(capsys: pytest.CaptureFixture[str]) -> None:
    note("for people")
    assert capsys.readouterr() == ("", "for people\n")


def test_wide_and_combining_characters_are_measured_as_terminals_do() -> None:
    assert [cell_width(text) for text in ("abc", "世界", "e\u0301", "…", "")] == [3, 4, 1, 1, 0]
    assert cut("世界世界", 5) == "世界…"
    assert cut("abc def", 5) == "abc…"
    assert cut("abc", 3) == "abc"


def test_a_column_that_is_needed_stays_whole_even_where_there_is_no_room() -> None:
    natural = {"id": 50, "name": 50, "tokens": 50, "extra": 10}
    assert fit(COLUMNS, natural, 40) == {"id": 50, "name": 1, "tokens": 50}


def test_an_estimate_is_marked_and_a_line_may_go_across(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (
        Column(key="name", title="name", flexible=True),
        Column(key="count", title="count", align="right", label="accuracy"),
    )
    rows = [{"name": "a", "count": 1, "accuracy": "estimated"}, {"name": "b", "count": 2, "accuracy": "exact"}]
    emit([rows[0], {RULE: "here"}, rows[1]], columns, Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert [lines[1].split(), lines[3].split()] == [["a", "~1"], ["b", "2"]]
    assert lines[2].startswith("── here ──")
    assert len(lines[2]) == 80


def test_a_late_column_is_left_out_after_the_others() -> None:
    columns = (
        Column(key="a", title="a", optional=True),
        Column(key="b", title="b", optional=True, late=True),
        Column(key="c", title="c"),
    )
    natural = {"a": 10, "b": 10, "c": 10}
    assert [list(fit(columns, natural, width)) for width in (34, 30, 20)] == [["a", "b", "c"], ["b", "c"], ["c"]]
