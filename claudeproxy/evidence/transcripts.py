"""Reads the client's own transcripts: what it says that it put into a conversation, and under which name.

Claude Code writes ``<projects>/<directory>/<session>.jsonl``, its subagents below, and since 2.1.330 each injected item
with the text that it became (``rendered``). An item that no rule knows yet gets its name from there, and what the rules
only suppose is confirmed. Optional, off by default and never required: it only reads, what it cannot read it leaves
out, and sizes are bounded, because the files belong to another program and may hold anything.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from claudeproxy.model import Source, SourceType, WholeText, result_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_SESSIONS = 8  # remembered at a time
MAX_ITEMS = 20_000  # distinct texts of a session; a long day has some hundreds
MAX_READ = 32 * 1024 * 1024  # bytes of one file read at a time; the rest comes at the next look
MAX_NAME = 400

_SESSION = re.compile(r"[0-9A-Za-z-]{8,64}\Z")  # becomes part of a path
_WRAPPER = re.compile(r"<system-reminder>\n(.*)\n</system-reminder>\Z", re.DOTALL)
_NAMED = {  # type of attachment -> type of source, the member that names it
    "hook_success": (SourceType.HOOK, "hookName"),
    "hook_additional_context": (SourceType.HOOK, "hookName"),
    "hook_blocking_error": (SourceType.HOOK, "hookName"),
    "nested_memory": (SourceType.MEMORY, "path"),
    "file": (SourceType.ATTACHMENT, "filename"),
    "directory": (SourceType.ATTACHMENT, "path"),
}


@dataclass
class _Session:
    items: dict[bytes, Source] = field(default_factory=dict)
    outputs: dict[str, WholeText] = field(default_factory=dict)  # of tools, by owner: those that imitate reminders
    offsets: dict[Path, int] = field(default_factory=dict)  # up to where each file was read


class Transcripts:
    """The transcripts under one directory, ``~/.claude/projects`` as a rule. Not thread-safe; never raises."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Transcripts {self._root}: {len(self._sessions)} sessions>"

    def injected(self, session_id: str, text: str) -> Source | None:
        """Return the source of a text that this session's client says it injected; None when it does not say so."""
        if not _SESSION.match(session_id):
            return None
        session = self._session(session_id)
        key = _key(text)
        if key not in session.items:
            self._read_on(session_id, session)
        return session.items.get(key)

    def whole_texts(self, session_id: str, owner: str) -> list[WholeText]:
        """Return what a tool really answered, when that holds a reminder's tag; `owner` as of `model.result_owner`."""
        if not _SESSION.match(session_id):
            return []
        session = self._session(session_id)
        if owner not in session.outputs:
            self._read_on(session_id, session)
        return [session.outputs[owner]] if owner in session.outputs else []

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.setdefault(session_id, _Session())
        self._sessions.move_to_end(session_id)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _read_on(self, session_id: str, session: _Session) -> None:
        """Read what was written since the last look."""
        try:
            files = [*self._root.glob(f"*/{session_id}.jsonl"), *self._root.glob(f"*/{session_id}/subagents/*.jsonl")]
        except OSError:
            return
        for path in files:
            for line in _new_lines(path, session.offsets):
                for key, source in _items(line):
                    if len(session.items) < MAX_ITEMS:
                        session.items[key] = source
                for output in _outputs(line):
                    if len(session.outputs) < MAX_ITEMS:
                        session.outputs[output.owner] = output


def _new_lines(path: Path, offsets: dict[Path, int]) -> Iterator[bytes]:
    """Yield whole lines behind the offset, and move it; a line that is still being written comes the next time."""
    start = offsets.get(path, 0)
    try:
        if not path.is_file() or path.stat().st_size <= start:
            return
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(MAX_READ)
    except OSError:
        return
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == MAX_READ:  # a line beyond all measure: go past it
        end = len(data)
    offsets[path] = start + end
    yield from data[:end].splitlines()


def _items(line: bytes) -> Iterator[tuple[bytes, Source]]:
    if b'"attachment"' not in line or b'"rendered"' not in line:  # most lines are the conversation
        return
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError):
        return
    attachment = record.get("attachment") if isinstance(record, dict) else None
    rendered = record.get("rendered") if isinstance(record, dict) else None
    source = _source(attachment)
    for one in rendered if isinstance(rendered, list) else ():
        text = one.get("content") if isinstance(one, dict) else None
        if source is not None and isinstance(text, str):
            yield _key(text), source


def _outputs(line: bytes) -> Iterator[WholeText]:
    """Yield tools' results as the client got them, before it adds anything to them."""
    if b'"tool_result"' not in line or b"</system-reminder>" not in line:
        return
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError):
        return
    message = record.get("message") if isinstance(record, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict) or block.get("type") != "tool_result":
            continue
        call_id, text = block.get("tool_use_id"), block.get("content")
        if isinstance(call_id, str) and len(call_id) <= MAX_NAME and isinstance(text, str) and text.strip():
            yield WholeText.of(result_owner(call_id), text)


def _source(attachment: object) -> Source | None:
    """Return whose an attachment is; of a type that has no name of its own, the framework's, named by the type."""
    if not isinstance(attachment, dict) or not isinstance(kind := attachment.get("type"), str):
        return None
    source_type, member = _NAMED.get(kind, (SourceType.FRAMEWORK, "type"))
    name = attachment.get(member)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return None
    return Source(type=source_type, name=name.replace("_", " ") if source_type is SourceType.FRAMEWORK else name)


def _key(text: str) -> bytes:
    """Return the hash of a text without the wrapper that only some layouts have."""
    inner = _WRAPPER.match(text.strip())
    words = (inner[1] if inner is not None else text).strip()
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()
