"""Cuts the memory container into its files.

Apart because a memory file is free text that may quote the container's own form, and telling a real entry from a
quoted one takes knowledge of where such files lie: user, project (with imports and rules), local, auto-memory, in this
order, each ``Contents of PATH (KIND):`` at a paragraph's start (wire.md, section 4). An entry is accepted when its
scope does not go back in that order and its path can be of that scope: project files lie in or above the working
directory, or an earlier file imports them with an ``@path``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.model import Source, SourceType

if TYPE_CHECKING:
    from claudeproxy.attribution.scene import Place, Scene

_ENTRY = re.compile(r"(?:^|(?<=\n))Contents of (?P<path>[^\n]{1,1000}?)(?: \((?P<kind>[^()\n]{1,120})\))?:\n\n")
_SCOPES = {
    "user's private global instructions for all projects": (0, "user"),
    "project instructions, checked into the codebase": (1, "project"),
    "user's private project instructions, not checked in": (2, "local"),
    "user's auto-memory, persists across conversations": (3, "auto"),
}
_PROJECT = frozenset({"project", "local"})
_IMPORT = re.compile(r"(?:^|(?<=\s))@((?:\\ |[^\s`])+)")


def divide_memory(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Return a span for each memory file between `start` and `end`; the preamble is left to the container."""
    del place
    genuine: list[tuple[int, str, str]] = []
    rank = 0
    seen: set[str] = set()
    line: list[str] = []  # folders of the project's own files
    for match in _ENTRY.finditer(text, start, end):
        path, kind = match["path"], match["kind"] or ""
        if genuine and text[match.start() - 2 : match.start()] != "\n\n":
            continue
        entry_rank, scope = _scope_of(kind)
        if genuine and (scope is None or entry_rank < rank or path in seen):
            continue
        before = text[genuine[0][0] : match.start()] if genuine else ""
        if genuine and not (_in_line(path, scope, scene.cwd, line) or _is_imported(path, before)):
            continue
        if scope in _PROJECT and _in_line(path, scope, scene.cwd, line):
            line.append(memory_folder(path))
        genuine.append((match.start(), path, scope or "unknown"))
        seen.add(path)
        rank = max(rank, entry_rank)
    spans = []
    for number, (at, path, scope) in enumerate(genuine):
        stop = genuine[number + 1][0] if number + 1 < len(genuine) else end
        source = Source(type=SourceType.MEMORY, name=path)
        file_claim = Claim(
            source=source, kind="body", rule="memory.file", evidence=f"scope={scope}", confidence=claim.confidence
        )
        spans.append(Span(at, stop, file_claim))
    return spans


def _scope_of(kind: str) -> tuple[int, str | None]:
    for words, (rank, scope) in _SCOPES.items():
        if kind == words:
            return rank, scope
    return 0, None


def _in_line(path: str, scope: str | None, cwd: str | None, line: list[str]) -> bool:
    """Tell whether a file of that scope can lie there: a project's in or above the working directory.

    Where nothing names the working directory: the project's files lie on one line from the root down.
    """
    if scope not in _PROJECT or not _absolute(path):
        return True
    home = memory_folder(path)
    if cwd is not None:
        return _within(cwd, home)
    return all(_within(folder, home) or _within(home, folder) for folder in line)


def _is_imported(path: str, before: str) -> bool:
    return any(_imports(path, found) for found in _IMPORT.findall(before))


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
