"""A bill as columns, and back.

Apart because the API's usage JSON is kept whole without keeping it twice: what the columns say is taken out, and only
what is left (fields newer than this program) is stored beside them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.model import Usage
from claudeproxy.store.text import bounded, clean

if TYPE_CHECKING:
    import sqlite3

_COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m",
    "cache_creation_1h",
    "output_tokens",
    "thinking_tokens",
    "web_search_requests",
    "web_fetch_requests",
)
_WORDS = ("service_tier", "speed", "inference_geo")

# Where each column stands in the API's JSON (tokens.md, "What the bill says").
_PLACES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (*_COUNTS, *_WORDS)},
    "cache_creation_5m": ("cache_creation", "ephemeral_5m_input_tokens"),
    "cache_creation_1h": ("cache_creation", "ephemeral_1h_input_tokens"),
    "thinking_tokens": ("output_tokens_details", "thinking_tokens"),
    "web_search_requests": ("server_tool_use", "web_search_requests"),
    "web_fetch_requests": ("server_tool_use", "web_fetch_requests"),
}


def usage_columns(usage: Usage) -> dict[str, int | str | None]:
    """Return the columns of table ``responses`` that hold a bill."""
    columns: dict[str, int | str | None] = {name: bounded(getattr(usage, name)) for name in _COUNTS}
    columns |= {name: clean(getattr(usage, name)) for name in _WORDS}
    return columns | {"usage_rest": _rest(usage.raw, columns)}


def usage_from(row: sqlite3.Row) -> Usage:
    """Read the bill back. `raw` holds the same JSON values as the API sent, in an order of our own."""
    raw: dict[str, object] = json.loads(row["usage_rest"]) if row["usage_rest"] else {}
    for name, place in _PLACES.items():
        if row[name] is not None:
            _put(raw, place, row[name])
    return Usage(
        input_tokens=row["input_tokens"],
        cache_creation_input_tokens=row["cache_creation_input_tokens"],
        cache_read_input_tokens=row["cache_read_input_tokens"],
        cache_creation_5m=row["cache_creation_5m"],
        cache_creation_1h=row["cache_creation_1h"],
        output_tokens=row["output_tokens"],
        thinking_tokens=row["thinking_tokens"],
        web_search_requests=row["web_search_requests"],
        web_fetch_requests=row["web_fetch_requests"],
        service_tier=row["service_tier"],
        speed=row["speed"],
        inference_geo=row["inference_geo"],
        raw=json.dumps(raw, separators=(",", ":")) if raw else None,
    )


def _rest(raw: str | None, columns: dict[str, int | str | None]) -> str | None:
    try:
        rest: object = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(rest, dict):
        return None
    for name, value in columns.items():
        if value is not None:
            _take(rest, _PLACES[name], value)
    return clean(json.dumps(rest, separators=(",", ":"), ensure_ascii=False)) if rest else None


def _take(tree: dict[str, object], place: tuple[str, ...], value: object) -> None:
    """Take a value out of its place when it is there, and the object around it once that is empty."""
    key, *inner = place
    if inner:
        child = tree.get(key)
        if isinstance(child, dict):
            before = len(child)
            _take(child, tuple(inner), value)
            if before and len(child) == 0:
                del tree[key]
    elif tree.get(key) == value:
        del tree[key]


def _put(tree: dict[str, object], place: tuple[str, ...], value: object) -> None:
    key, *inner = place
    if not inner:
        tree.setdefault(key, value)
        return
    child = tree.setdefault(key, {})
    if isinstance(child, dict):
        _put(child, tuple(inner), value)
