"""Cuts the memory container into its files.

Apart because a memory file is free text that may quote the container's own form, and telling a real entry from a
quoted one takes knowledge of where such files lie: user, project (with imports and rules), local, auto-memory, in this
order, each ``Contents of PATH (KIND):`` at a paragraph's start (wire.md, section 4). Accepted are the most entries
whose scopes keep that order and whose paths can be of their scope: project files lie in or above the working
directory, or an earlier file imports them with an ``@path``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.model import Source, SourceType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.attribution.scene import Place, Scene

_ENTRY = re.compile(r"(?:^|(?<=\n))Contents of (?P<path>[^\n]{1,1000}?)(?: \((?P<kind>[^()\n]{1,120})\))?:\n\n")
_SCOPES = {
    "user's private global instructions for all projects": (0, "user"),
    "project instructions, checked into the codebase": (1, "project"),
    "user's private project instructions, not checked in": (2, "local"),
    "user's auto-memory, persists across conversations": (3, "auto"),
}
SCOPE = rf"(?: \((?:{'|'.join(map(re.escape, _SCOPES))})\))?"
"""Pattern: what the client says of a file behind its path. In words that it does not use, it is part of the path."""

MAX_FILES = 500  # more entries than this are not looked at; nobody has as many memory files
MAX_QUOTED = 64  # as many entries may be quoted in a row before a genuine one is missed: a bound for the search
_PROJECT = frozenset({"project", "local"})
_IMPORT = re.compile(r"(?:^|(?<=\s))@((?:\\ |[^\s`])+)")


def divide_memory(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Return a span for each memory file between `start` and `end`; the preamble is left to the container."""
    del place
    genuine = _genuine(text, start, end, scene)
    spans = []
    for number, (at, path, scope) in enumerate(genuine):
        stop = genuine[number + 1][0] if number + 1 < len(genuine) else end
        source = Source(type=SourceType.MEMORY, name=path)
        file_claim = Claim(
            source=source, kind="body", rule="memory.file", evidence=f"scope={scope}", confidence=claim.confidence
        )
        spans.append(Span(at, stop, file_claim))
    return spans


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One way to read the entries up to one of them: which are the client's."""

    entries: tuple[tuple[int, str, str], ...]  # start, path, scope
    rank: int = 0
    line: tuple[str, ...] = ()  # folders of the project's own files


def _genuine(text: str, start: int, end: int, scene: Scene) -> Sequence[tuple[int, str, str]]:
    """Return (start, path, scope) of the entries that are the client's: of all readings the one with most files.

    The first entry is always the client's. A quoted entry that runs ahead in the order of scopes would hide the files
    that really follow; so it only counts where it costs none of them.
    """
    imports = [(match.end(), match[1]) for match in _IMPORT.finditer(text, start, end)]
    readings: list[_Reading] = []  # the best that ends with each entry
    for match in islice(_ENTRY.finditer(text, start, end), MAX_FILES):
        path, (rank, scope) = match["path"], _scope_of(match["kind"] or "")
        if not readings:
            line = (memory_folder(path),) if scope in _PROJECT else ()
            readings.append(_Reading(entries=((match.start(), path, scope or "unknown"),), rank=rank, line=line))
        elif scope is not None and text[match.start() - 2 : match.start()] == "\n\n":
            imported = any(at <= match.start() and _imports(path, target) for at, target in imports)
            longest = sorted(readings[-MAX_QUOTED:], key=lambda reading: -len(reading.entries))
            for before in longest:
                longer = _longer(before, match.start(), path, scope, rank, scene.cwd, imported=imported)
                if longer is not None:
                    readings.append(longer)
                    break
    return max(reversed(readings), key=lambda reading: len(reading.entries)).entries if readings else ()


def _longer(
    before: _Reading, at: int, path: str, scope: str, rank: int, cwd: str | None, *, imported: bool
) -> _Reading | None:
    """Return the reading with one entry more, None where that file cannot stand there: or twice."""
    in_line = _in_line(path, scope, cwd, before.line)
    if rank < before.rank or not (in_line or imported) or any(path == known for _at, known, _scope in before.entries):
        return None
    line = (*before.line, memory_folder(path)) if scope in _PROJECT and in_line else before.line
    return _Reading(entries=(*before.entries, (at, path, scope)), rank=rank, line=line)


def _scope_of(kind: str) -> tuple[int, str | None]:
    for words, (rank, scope) in _SCOPES.items():
        if kind == words:
            return rank, scope
    return 0, None


def _in_line(path: str, scope: str | None, cwd: str | None, line: Sequence[str]) -> bool:
    """Tell whether a file of that scope can lie there: a project's in or above the working directory.

    Where nothing names the working directory: the project's files lie on one line from the root down.
    """
    if scope not in _PROJECT or not _absolute(path):
        return True
    home = memory_folder(path)
    if cwd is not None:
        return _within(cwd, home)
    return all(_within(folder, home) or _within(home, folder) for folder in line)


def may_nest(path: str, before: str, cwd: str | None) -> bool:
    """Tell whether a memory file can come with a file that is read: it lies below the working directory.

    Rules of the user's lie in ``.claude``; an import of an earlier file's may lie anywhere.
    """
    if cwd is None or not _absolute(path) or _within(memory_folder(path), cwd) or "/.claude/" in path:
        return True
    return any(_imports(path, target) for target in _IMPORT.findall(before))


def _absolute(path: str) -> bool:
    return path.startswith("/") or path[1:3] in {":\\", ":/"}


def memory_folder(path: str) -> str:
    """Return the folder that a memory file speaks for: ``/p/.claude/rules/x.md`` speaks for ``/p``."""
    parts = path.replace("\\", "/").split("/")
    if ".claude" in parts:
        return "/".join(parts[: parts.index(".claude")])
    return "/".join(parts[:-1])


def _within(folder: str, ancestor: str) -> bool:
    folder = folder.replace("\\", "/").rstrip("/")
    return folder == ancestor.rstrip("/") or folder.startswith(ancestor.rstrip("/") + "/")


def _imports(path: str, target: str) -> bool:
    tail = re.sub(r"^(?:~|\.{1,2})(?:/|$)|^(?:\.\./)+", "", target.replace("\\ ", " ").split("#")[0])
    while tail.startswith("../"):
        tail = tail[3:]
    return bool(tail) and path.replace("\\", "/").endswith(tail if tail.startswith("/") else f"/{tail}")
