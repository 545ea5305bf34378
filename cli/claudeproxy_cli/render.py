"""Rows to text: a table for people, lines for pipes, JSON, JSON lines, CSV. The one place where data leaves us.

What is shown may have been captured from anywhere, so every cell is stripped of control characters (an escape
sequence in a model's name must not drive the terminal) and is never read as markup. JSON needs no stripping: its
encoder escapes them.

The table is drawn here and not by rich: importing that takes longer than the rest of ``claudeproxy query``, and it
shrinks every column where some must stay whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TextIO

from claudeproxy_cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Row = Mapping[str, object]

# C0, DEL, C1, and the marks that reorder text on a terminal.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_LINE_WIDTH: Final = 80  # where the terminal does not say
_GAP: Final = 2
_PICO: Final = 10**12

ESTIMATED: Final = "estimated"  # the label of a number that no bill has settled
RULE: Final = "─"  # the key of a row that is no row: its text, in a line across the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: the row's value under `key`, as text by `text`.

    `flexible` columns are cut when the table is too wide, but not below `least` as long as `optional` ones can be left
    out, the last first, `late` ones after all others. The others keep their content.
    """

    key: str
    title: str
    text: Callable[[object], str] | None = None
    align: Literal["left", "right"] = "left"
    flexible: bool = False
    least: int = 12
    optional: bool = False
    late: bool = False
    label: str | None = None  # the key under which a row says how accurate this number is: an estimate gets a ~

    def cell(self, row: Row) -> str:
        """The text of this column in a row, safe to print."""
        value = row.get(self.key)
        text = plain(self.text(value) if self.text is not None else "" if value is None else str(value))
        guessed = self.label is not None and value is not None and row.get(self.label) == ESTIMATED
        return f"~{text}" if guessed else text


def plain(text: str) -> str:
    """The text without anything that a terminal would act upon; line breaks and tabs become spaces."""
    return _CONTROLS.sub(lambda match: " " if match[0] in "\t\n\r\x0b\x0c\u2028\u2029" else "", text)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether people read what is written there."""
    stream = sys.stdout if stream is None else stream
    return bool(stream.isatty())


def use_color(stream: TextIO | None = None) -> bool:
    """Colour on terminals that can, unless NO_COLOR says otherwise (https://no-color.org: any value but the empty)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def emit(
    rows: Sequence[Row],
    columns: Sequence[Column],
    output: Format,
    *,
    document: object = None,
    title: str | None = None,
) -> None:
    """Write rows to standard output.

    JSON and JSON lines carry the rows whole, whatever columns are shown; `document` replaces the list for JSON.
    """
    match output:
        case Format.JSON:
            write_json(rows if document is None else document)
        case Format.JSONL:
            for row in rows:
                print(dump(row, indent=None))
        case Format.CSV:
            _csv(rows, columns)
        case Format.LINES:
            for row in rows:
                print("\t".join(column.cell(row) for column in columns))
        case Format.TABLE:
            _table(rows, columns, title)


def write_json(value: object) -> None:
    """One JSON document, indented."""
    print(dump(value, indent=2))


def dump(value: object, *, indent: int | None) -> str:
    """JSON text; lone surrogates, which captured text may hold, are escaped so that any stream can take it."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, default=str)
    return text


def _csv(rows: Iterable[Row], columns: Sequence[Column]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row.get(column.key), column, row) for column in columns])


def _csv_cell(value: object, column: Column, row: Row) -> str:
    if value is None:
        return ""
    text = plain(str(value)) if isinstance(value, int | float | str) else column.cell(row)
    # A spreadsheet runs a cell that starts so as a formula, and the text may be anybody's.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} and not isinstance(value, int | float) else text


def _table(rows: Sequence[Row], columns: Sequence[Column], title: str | None) -> None:
    width = shutil.get_terminal_size((_LINE_WIDTH, 24)).columns
    cells = {column.key: [column.cell(row) for row in rows] for column in columns}
    natural = {c.key: max(map(cell_width, [c.title, *cells[c.key]])) for c in columns}
    widths = fit(columns, natural, width)
    kept = [column for column in columns if column.key in widths]
    if title is not None:
        print(_bold(title))
    print(_bold(_line([column.title for column in kept], kept, widths)))
    for index, row in enumerate(rows):
        if RULE in row:
            print(_across(plain(str(row[RULE])), width))
            continue
        print(_line([cells[column.key][index] for column in kept], kept, widths))


def _across(text: str, width: int) -> str:
    said = cut(f"{RULE * 2} {text} ", width)
    return said + RULE * (width - cell_width(said))


def table_lines(rows: Sequence[Row], columns: Sequence[Column], widths: Mapping[str, int]) -> list[str]:
    """The lines of a table that is not known whole, title line first: cells have `widths` as far as the line has room.

    Cells that must stay whole and are wider push the rest of their line to the right.
    """
    width = shutil.get_terminal_size((_LINE_WIDTH, 24)).columns
    fitted = fit(columns, {c.key: max(cell_width(c.title), widths.get(c.key, c.least)) for c in columns}, width)
    kept = [column for column in columns if column.key in fitted]
    lines = [_bold(_line([column.title for column in kept], kept, fitted))]
    for row in rows:
        cells = {column.key: column.cell(row) for column in kept}
        whole = {c.key: fitted[c.key] if c.flexible else max(fitted[c.key], cell_width(cells[c.key])) for c in kept}
        lines.append(cut(_line(list(cells.values()), kept, whole), width))
    return lines


def fit(columns: Sequence[Column], natural: Mapping[str, int], width: int) -> dict[str, int]:
    """Key to width of the columns that are shown: optional ones go, the last first, until every flexible one can have
    a readable part of what it wants; then the flexible ones share what is left, the widest giving way first."""
    widths = {column.key: natural[column.key] for column in columns}
    least = {c.key: min(natural[c.key], c.least) if c.flexible else natural[c.key] for c in columns}
    last_first = [column for late in (False, True) for column in reversed(columns) if column.late is late]
    for column in last_first:
        if column.optional and sum(least[key] + _GAP for key in widths) - _GAP > width:
            del widths[column.key]
    flexible = [column.key for column in columns if column.flexible and column.key in widths]
    while flexible and sum(widths.values()) + _GAP * (len(widths) - 1) > width:
        widest = max(flexible, key=widths.__getitem__)
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return widths


def _line(texts: Sequence[str], columns: Sequence[Column], widths: Mapping[str, int]) -> str:
    parts = []
    for text, column in zip(texts, columns, strict=True):
        shown = cut(text, widths[column.key])
        space = " " * (widths[column.key] - cell_width(shown))
        parts.append(space + shown if column.align == "right" else shown + space)
    return (" " * _GAP).join(parts).rstrip()


def cell_width(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    return (
        0 if unicodedata.combining(char) or char == "\u200b" else 2 if unicodedata.east_asian_width(char) in "WF" else 1
    )


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where something was cut off."""
    if cell_width(text) <= width:
        return text
    taken = 0
    for index, char in enumerate(text):
        taken += _char_width(char)
        if taken > width - 1:
            return text[:index].rstrip() + "…"
    return text


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if use_color() else text


def number(value: object) -> str:
    """``12,345``, or a dash for None."""
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def compact(value: object) -> str:
    """``950``, ``12.3k``, ``1.2M``: for narrow columns."""
    if not isinstance(value, int):
        return "-"
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return str(value)


def size(value: object) -> str:
    """Bytes as ``812 KB``, ``4.2 MB``."""
    amount = float(str(value))
    for unit in ("bytes", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.1f} {unit}" if amount < 10 and unit != "bytes" else f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def dollars(picodollars: int | None) -> str | None:
    """Pico-dollars as the API writes them: an exact decimal string of dollars; None for an unknown price."""
    if picodollars is None:
        return None
    whole, rest = divmod(picodollars, _PICO)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".")


def price(value: object) -> str:
    """What `dollars` wrote, for people: ``$1.23``, ``$0.0042``, ``<$0.0001``, a dash for an unknown one."""
    if value is None:
        return "-"
    amount = float(str(value))
    if 0 < amount < 0.0001:
        return "<$0.0001"
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


@contextmanager
def streaming() -> Iterator[None]:
    """Around output that goes on for long: when its reader leaves, so do we, with the code for that.

    Typer would end with 1; what is buffered and cannot be written any more, `main` takes care of.
    """
    from claudeproxy_cli.main import BROKEN_PIPE

    try:
        yield
    except BrokenPipeError:
        raise SystemExit(BROKEN_PIPE) from None


def note(text: str) -> None:
    """A line for people, on standard error: it must not mix with data."""
    print(text, file=sys.stderr)
