"""Where one request's context came from: by type, by source, and by what a source's part is made of.

Apart from `show`, which says everything else about a request. Pure but for printing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudeproxy_cli.listing import OUTPUT_COLUMNS, SHOWN_COLUMNS, SOURCE_COLUMNS
from claudeproxy_cli.money import fine_price
from claudeproxy_cli.options import Format
from claudeproxy_cli.render import RULE, Column, compact, dollars, emit, number, price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.values import ContextAttribution

PARTS: Final = 2  # of a source, shown beside it
TYPES: Final = 5  # types of sources that fit a line
FOLD_BELOW: Final = 0.005  # share of a source that is shown by itself
FOLD_FROM: Final = 4  # sources that are worth a line together

_LABELS: Final = ("exact", "shared", "estimated")  # the least accurate part decides what a sum may be called

# Price classes in the order in which a bill lays them over the prompt. A piece that lies across counts where most is.
CLASSES: Final = {
    "read": "read from the cache",
    "write_1h": "written into the cache (1h)",
    "write_5m": "written into the cache (5m)",
    "uncached": "uncached",
}
PIECE_COLUMNS: Final = (
    Column(key="json_path", title="where", flexible=True, least=24),
    Column(key="start", title=""),
    Column(key="end", title=""),
    Column(key="label", title="source", flexible=True, least=16),
    Column(key="kind", title="kind", flexible=True, least=8),
    Column(key="token_count", title="tokens", text=compact, align="right", label="accuracy"),
    Column(key="accuracy", title=""),
    Column(key="price_class", title=""),
    Column(key="cost", title="cost", text=fine_price, align="right"),
)


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
        "label": f"{len(small)} smaller ones: --all",
        "token_count": sum(row["token_count"] for row in small),  # type: ignore[misc]
        "share": sum(row["share"] for row in small),  # type: ignore[misc]
        "accuracy": max((str(row["accuracy"]) for row in small), key=_LABELS.index),
        "cost": _sum([row["cost"] for row in small]),
        "parts": "",
    }
    return [*rows[: -len(small)], together]


def by_kind(attributions: Sequence[ContextAttribution]) -> list[dict[str, object]]:
    """Tokens by source and kind, the largest first: what a source's part consists of."""
    totals: dict[tuple[str, str], int] = {}
    costs: dict[tuple[str, str], list[int | None]] = {}
    accuracies: dict[tuple[str, str], set[str]] = {}
    for piece in attributions:
        if piece.kind == "output":  # generated, not context: no part of the prompt's tokens
            continue
        key = (piece.source.label, piece.kind)
        totals[key] = totals.get(key, 0) + piece.token_count
        if piece.token_count:  # nothing has no accuracy
            accuracies.setdefault(key, set()).add(str(piece.accuracy))
        costs.setdefault(key, []).append(piece.cost)
    whole = sum(totals.values())
    return [
        {
            "label": label,
            "kind": kind,
            "token_count": tokens,
            "share": round(tokens / whole, 4) if whole else 0.0,
            # The least accurate part decides what the sum may be called.
            "accuracy": max(accuracies[label, kind], key=_LABELS.index),
            "cost": None if None in costs[label, kind] else dollars(sum(cost or 0 for cost in costs[label, kind])),
        }
        for (label, kind), tokens in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
        if tokens
    ]


def _sum(costs: Sequence[object]) -> str | None:
    """Decimal strings added up exactly; None where one is unknown."""
    from decimal import Decimal

    return None if None in costs else f"{sum(Decimal(str(cost)) for cost in costs):f}"


def piece_rows(
    pieces: Sequence[ContextAttribution],
) -> list[dict[str, object]]:
    """The pieces of a prompt, one after the other as they stand in it."""
    return [
        {
            "json_path": piece.json_path,
            "start": piece.start,
            "end": piece.end,
            "label": piece.source.label,
            "kind": piece.kind,
            "token_count": piece.token_count,
            "accuracy": str(piece.accuracy),
            "price_class": piece.price_class,
            "cost": dollars(piece.cost),
        }
        for piece in pieces
    ]


def print_pieces(rows: Sequence[dict[str, object]], output: Format, *, everything: bool) -> None:
    """The pieces in prompt order; in a table a line across says where the cache ends, and without `everything` what
    counts as no token is left out."""
    if output is not Format.TABLE:
        emit(rows, PIECE_COLUMNS, output)
        return
    shown = [row for row in rows if everything or row["token_count"]]
    emit(with_rules(shown), [c for c in PIECE_COLUMNS if c.title], output, title="the prompt, piece by piece")


def with_rules(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The rows with a line across the table where each price class ends."""
    made: list[dict[str, object]] = []
    for index, row in enumerate(rows):
        made.append(row)
        following = rows[index + 1]["price_class"] if index + 1 < len(rows) else None
        if row["price_class"] in CLASSES and row["price_class"] != following:
            same = [one for one in rows if one["price_class"] == row["price_class"]]
            tokens = sum(int(str(one["token_count"])) for one in same)
            cost = price(_sum([one["cost"] for one in same]))
            made.append({RULE: f"to here {CLASSES[str(row['price_class'])]}: {number(tokens)} tokens, {cost}"})
    return made


def print_output(rows: Sequence[dict[str, object]], output: Format) -> None:
    """What was generated: text, thinking, calls; fees of server tools."""
    emit(rows, OUTPUT_COLUMNS, output)


def by_type(sources: Sequence[dict[str, object]]) -> str:
    """``45% Tool, 20% McpServer``: the largest types of the sources."""
    shares: dict[str, float] = {}
    for row in sources:
        shares[str(row["source_type"])] = shares.get(str(row["source_type"]), 0) + float(str(row["share"]))
    largest = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{share:.0%} {name}" for name, share in largest[:TYPES] if share >= 0.01)
