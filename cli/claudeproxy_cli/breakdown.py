"""Where one request's context came from: by type, by source, and by what a source's part is made of.

Apart from `show`, which says everything else about a request. Pure but for printing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudeproxy_cli.listing import SHOWN_COLUMNS, SOURCE_COLUMNS
from claudeproxy_cli.options import Format
from claudeproxy_cli.render import emit, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.values import ContextAttribution

PARTS: Final = 2  # of a source, shown beside it
TYPES: Final = 5  # types of sources that fit a line
FOLD_BELOW: Final = 0.005  # share of a source that is shown by itself
FOLD_FROM: Final = 4  # sources that are worth a line together


def print_sources(
    rows: list[dict[str, object]], kinds: list[dict[str, object]], output: Format, *, everything: bool
) -> None:
    """The sources, the largest first, each with what its part consists of; the smallest as one line."""
    rows = [{**row, "parts": _parts(row, [kind for kind in kinds if kind["label"] == row["label"]])} for row in rows]
    if output is not Format.TABLE:
        emit(rows, (*SHOWN_COLUMNS, SOURCE_COLUMNS[-1]), output)
        return
    accuracies = {str(row["accuracy"]) for row in rows}
    if not everything:
        rows = _fold(rows)
    if len(accuracies) > 1:
        emit(rows, (*SHOWN_COLUMNS, SOURCE_COLUMNS[-1]), output, title="where the context came from")
    else:
        emit(rows, SHOWN_COLUMNS, output, title=f"where the context came from (tokens: {accuracies.pop()})")


def _parts(row: dict[str, object], kinds: list[dict[str, object]]) -> str:
    if len(kinds) == 1:
        return str(kinds[0]["kind"])
    shown = [f"{kind['kind']} {number(kind['token_count'])}" for kind in kinds[:PARTS]]
    return ", ".join([*shown, "…"] if len(kinds) > PARTS else shown)


def _fold(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Sources below half a percent as one row, where that saves lines."""
    small = [row for row in rows if row["share"] < FOLD_BELOW]  # type: ignore[operator]
    if len(small) < FOLD_FROM:
        return rows
    together = {
        "label": f"{len(small)} smaller ones (see --all)",
        "token_count": sum(row["token_count"] for row in small),  # type: ignore[misc]
        "share": sum(row["share"] for row in small),  # type: ignore[misc]
        "accuracy": small[-1]["accuracy"],
        "parts": "",
    }
    return [*rows[: -len(small)], together]


def by_kind(attributions: Sequence[ContextAttribution]) -> list[dict[str, object]]:
    """Tokens by source and kind, the largest first: what a source's part consists of."""
    totals: dict[tuple[str, str], int] = {}
    accuracies: dict[tuple[str, str], set[str]] = {}
    for piece in attributions:
        key = (piece.source.label, piece.kind)
        totals[key] = totals.get(key, 0) + piece.token_count
        accuracies.setdefault(key, set()).add(str(piece.accuracy))
    whole = sum(totals.values())
    return [
        {
            "label": label,
            "kind": kind,
            "token_count": tokens,
            "share": round(tokens / whole, 4) if whole else 0.0,
            # The least accurate part decides what the sum may be called.
            "accuracy": max(accuracies[label, kind], key=("exact", "shared", "estimated").index),
        }
        for (label, kind), tokens in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
        if tokens
    ]


def by_type(sources: Sequence[dict[str, object]]) -> str:
    """``45% Tool, 20% McpServer``: the largest types of the sources."""
    shares: dict[str, float] = {}
    for row in sources:
        shares[str(row["source_type"])] = shares.get(str(row["source_type"]), 0) + float(str(row["share"]))
    largest = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.0%} {name}" for name, share in largest[:TYPES] if share >= 0.01)
