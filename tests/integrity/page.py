"""docs/reference/capture-integrity.md: its rows, made into a page and read back from it.

Apart from the tests, which know nothing of tables. A row is what one test saw for one way into the proxy; rows that
differ in nothing but the way share a line.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "capture-integrity.md"

KILLS = Path(__file__).with_name("kills.json")
"""The longest run of `kills` that was made."""

ENTRY_MODES = ("reverse", "connect", "tls", "absolute", "connect in tls")
"""The ways into the proxy, as the page names them; a line for all five says `every`."""

EVERY = "every"

SECTIONS: Mapping[str, str] = {
    "Client": (
        "The client goes away, or breaks its own request. A reset is noticed at once, even while the upstream takes\n"
        "no more of the request. A close stands behind the client's last bytes and is noticed when these are taken; a\n"
        "client that closes its sending half only cannot be told from one that left, and counts as one: the user pays\n"
        "for every token that nobody reads."
    ),
    "Upstream": "The API, or what stands before it, does not answer as it should.",
    "Bodies": (
        "Large, many, coded and corrupt. Whatever a body is, it is passed on as it came; what can be read of it\n"
        "decides only what the record knows beside its bytes. Of what bursts, the beginning is read."
    ),
    "Process": "The proxy is killed, or told to stop.",
    "Machine": "The disk, the database and the clock.",
    "Supervision": "The proxy under `claudeproxy run`.",
    "WebSocket": "After a 101.",
}
"""Section to the sentences under its heading."""

_INTRODUCTION = """\
# Capture integrity

<!-- Made by `uv run python -m tests.integrity` from what the tests in tests/integrity saw. -->

What a client sees and what the record says when something breaks. Every line was seen by a test, with real sockets and
real TLS, in each of the ways into the proxy that it names: as a base URL (`reverse`), through `CONNECT` and opened up
(`connect`), by TLS to the API's name (`tls`), with an absolute URL (`absolute`), and through a `CONNECT` inside TLS to
the proxy (`connect in tls`). `every` is all five. In every line there is exactly one record for each request, and
afterwards the proxy answers the next client unless the line says otherwise.

States: `complete`, a whole answer came, whatever its status; `aborted_by_client`; `cut_by_upstream`, the head of an
answer came and its end did not; `upstream_error`, no head came; `interrupted`, the proxy died. *whole*, *partial* and
*empty* say what is kept of a body. What peers can make the proxy hold at the most: [limits.md](limits.md).
"""

_HEAD = ("| fault | entry | the client sees | the record says | the proxy |", "|---|---|---|---|---|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one test saw. Deterministic words without `|` and line ends; `mode` has no comma."""

    section: str
    fault: str
    mode: str
    client: str
    record: str
    proxy: str = "goes on"

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise ValueError(f"no section {self.section!r}: the page has {', '.join(SECTIONS)}")
        words = [*asdict(self).values()]
        if any(not word.strip() or "|" in word or "\n" in word for word in words) or "," in self.mode:
            raise ValueError(f"not for a table: {words}")

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row is about; the rest is what was seen."""
        return self.section, self.fault, self.mode

    @property
    def line(self) -> tuple[str, str, str, str, str]:
        """Everything but the way in."""
        return self.section, self.fault, self.client, self.record, self.proxy


def render(rows: Iterable[Row], sentence: str = "") -> str:
    """The page, rows in the order in which they are given; `sentence` stands under the client's section."""
    lines: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in rows:
        lines.setdefault(row.line, []).append(row.mode)
    parts = [_INTRODUCTION]
    for section, words in SECTIONS.items():
        body = [_cells(line, modes) for line, modes in lines.items() if line[0] == section]
        if body:
            said = [words, sentence] if sentence and section == "Client" else [words]
            said += ["", *killed()] if section == "Process" and KILLS.exists() else []
            parts.append("\n".join([f"## {section}", "", *said, "", *_HEAD, *body]) + "\n")
    return "\n".join(parts)


def killed() -> list[str]:
    """What the longest run of `kills` came to, as lines."""
    run = json.loads(KILLS.read_text(encoding="ascii"))
    victims = ", ".join(f"{name} {count}" for name, count in run["victims"].items())
    return [
        f"`uv run python -m tests.integrity.kills --trials {run['trials']} --seed {run['seed']}` killed",
        f"{victims},",
        f"at random moments under load: {run['requests']} requests, {run['megabytes']} MB of answers, {run['open']} of",
        "them open at the kill. After each, every request that reached the upstream was recorded",
        "once, every byte that a client had received was the beginning of the recorded answer, what was open was",
        "`interrupted`, `PRAGMA integrity_check` and `verify()` found nothing, and all sums were those of what they",
        "are the sums of. None failed. Ten such trials are part of the tests.",
    ]


def _cells(line: tuple[str, str, str, str, str], modes: list[str]) -> str:
    _, fault, client, record, proxy = line
    entry = EVERY if set(modes) == set(ENTRY_MODES) else ", ".join(sorted(set(modes), key=_place))
    return f"| {fault} | {entry} | {client} | {record} | {proxy} |"


def _place(mode: str) -> tuple[int, str]:
    return (ENTRY_MODES.index(mode) if mode in ENTRY_MODES else len(ENTRY_MODES), mode)


def parse(text: str) -> list[Row]:
    """The rows of a page that `render` made."""
    rows: list[Row] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and line not in _HEAD:
            fault, entry, client, record, proxy = (cell.strip() for cell in line.strip("|").split("|"))
            modes = ENTRY_MODES if entry == EVERY else entry.split(", ")
            rows += [
                Row(section=section, fault=fault, mode=mode, client=client, record=record, proxy=proxy)
                for mode in modes
            ]
    return rows


_SENTENCE = re.compile(r"^Measured: .*$", re.MULTILINE)


def sentence_of(text: str) -> str:
    """What a page says of times; empty where it says nothing."""
    found = _SENTENCE.search(text)
    return found[0] if found else ""


def sentence(seconds: Sequence[float]) -> str:
    """What the measured times say: no row and no test depends on them."""
    if not seconds:
        return ""
    return (
        f"Measured: from the client's end to the end of the upstream's connection {median(seconds) * 1000:.0f} ms in "
        f"the median, {max(seconds) * 1000:.0f} ms at most, in {len(seconds)} exchanges; "
        "the tests ask for less than 2 s."
    )


def measured(file: str, seconds: float) -> None:
    """Note a time for the sentence, in the file of a run that collects."""
    with open(file, "ab", buffering=0) as out:
        out.write(json.dumps({"seconds": seconds}).encode() + b"\n")


def published() -> list[Row]:
    """The rows of the committed page; none if there is no page yet."""
    return parse(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else []


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Some tests ran, not all: theirs replace the rows of the same fault, the others stay where they are."""
    fresh = list(new)
    about = {(row.section, row.fault) for row in fresh}
    rows: list[Row] = []
    for row in old:
        if (row.section, row.fault) not in about:
            rows.append(row)
            continue
        rows += [one for one in fresh if (one.section, one.fault) == (row.section, row.fault) and one not in rows]
    return rows + [row for row in fresh if row not in rows]
