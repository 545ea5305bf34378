from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config.home import Home
from claudeproxy.errors import NotFoundError
from claudeproxy.model import Accuracy, Source, SourceType
from claudeproxy.store.values import SourceTotal
from claudeproxy_cli.listing import (
    nothing_yet,
    open_captures,
    outcome,
    request_columns,
    shown,
    source_rows,
    top_sources,
    who,
    with_tokens,
)
from claudeproxy_cli.options import Format

if TYPE_CHECKING:
    from pathlib import Path


def _total(name: str, tokens: int) -> SourceTotal:
    source = Source(type=SourceType.MCP_SERVER, name=name)
    return SourceTotal(source=source, token_count=tokens, accuracy=Accuracy.ESTIMATED, cost=None)


def test_sources_come_largest_first_with_their_share() -> None:
    rows = source_rows([_total("a", 25), _total("b", 75), _total("c", 0)])
    assert [(row["label"], row["share"]) for row in rows] == [("MCP: b", 0.75), ("MCP: a", 0.25), ("MCP: c", 0.0)]
    assert [row["label"] for row in with_tokens(rows)] == ["MCP: b", "MCP: a"]
    assert top_sources(rows) == "75% MCP: b, 25% MCP: a"
    assert top_sources(rows, count=1) == "75% MCP: b"


def test_what_has_no_context_shows_what_it_asked_for() -> None:
    """Telemetry and settings are captured too: a list that shows dashes for them says nothing."""
    row = {"method": "GET", "url": "https://api.anthropic.com/api/settings?key=1", "state": "complete"}
    row |= {"status_code": 200, "agent_type": None, "request_class": None, "retry_of": None}
    row |= {"cost": None, "cost_note": None}
    (got,) = shown([{**row, "sources": []}])
    assert (got["content"], got["top_sources"], got["path"]) == ("GET /api/settings", "", "/api/settings")
    (got,) = shown([{**row, "sources": source_rows([_total("a", 1)])}])
    assert got["content"] == "100% MCP: a"


def test_a_context_of_nothing_has_no_shares() -> None:
    assert source_rows([_total("a", 0)])[0]["share"] == 0.0
    assert source_rows([]) == []


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        ("complete", 529, "529"),
        ("in_flight", None, "running"),
        ("cut_by_upstream", 200, "cut"),
        ("complete", None, "-"),
    ],
)
def test_an_outcome_is_a_word(state: str, status: int | None, word: str) -> None:
    assert outcome({"state": state, "status_code": status}) == word


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("claude-opus-4-5-20251101", "opus-4-5"),
        ("claude-opus-5-5", "opus-5-5"),
        ("other/model-12345678", "other/model"),
        ("claude-12345678", "12345678"),
        (None, "-"),
    ],
)
def test_models_are_shown_by_what_tells_them_apart(model: str | None, shown: str) -> None:
    columns = {column.key: column for column in request_columns(datetime(2026, 11, 22, tzinfo=UTC), Format.TABLE)}
    assert columns["model"].cell({"model": model}) == shown


def test_a_missing_database_is_nothing_yet_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="claudeproxy demo"):
        open_captures(Home(path=tmp_path))
    assert f"--home {tmp_path}" in nothing_yet(Home(path=tmp_path))


@pytest.mark.parametrize(
    ("agent_type", "request_class", "retry_of", "word"),
    [
        (None, "main", None, "main"),
        ("botanist", "subagent", None, "botanist"),
        (None, "main", "an id", "main, retry"),
        (None, None, None, None),
        (None, None, "an id", "-, retry"),
    ],
)
def test_who_asked_in_a_word(
    agent_type: str | None, request_class: str | None, retry_of: str | None, word: str | None
) -> None:
    assert who({"agent_type": agent_type, "request_class": request_class, "retry_of": retry_of}) == word
