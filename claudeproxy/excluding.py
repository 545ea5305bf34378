"""Which exchanges are not to be stored at all: those of directories that a person has named (`exclude_projects`).

Apart from `explaining`, which says the same of a request and more, because this comes before storing: what was stored
and deleted has been on the disk. It reads the working directory from where the client writes it, and drops with a
request whatever else its session sends, for most of that names no directory (titles, counts, telemetry with the
session in a header). A body that cannot be read to its end is dropped if an excluded directory is named anywhere in it.

Sessions are remembered by a hash of their id in a file in home, so that a restart in the middle of one changes nothing.
"""

from __future__ import annotations

import os
import posixpath
import sys
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.attribution.identity import Hints, body_strings, session_of
from claudeproxy.attribution.views import read_block
from claudeproxy.capture.erase import JournalEraser
from claudeproxy.errors import StorageError
from claudeproxy.logs import get_logger
from claudeproxy.model import BodyKept, RecordedWebSocket, State, WebSocketStream
from claudeproxy.private import open_private, read_private, replace_private
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import Section, layout
from claudeproxy.store.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.excluding")

MAX_SESSIONS = 10_000  # remembered; some 330 KB

_FOLDED = sys.platform in {"darwin", "win32"}  # names there differ in case only where nobody means them to


class Exclusions:
    """Decides over exchanges, in the order in which they come.

    :param directories: what is excluded, with everything below.
    :param memory: the file in which sessions are remembered; made when there is one.
    :param journal: the root of the journals that the exchanges come from.
    """

    def __init__(self, directories: Iterable[str | Path], memory: Path, journal: Path) -> None:
        # As named and as the system resolves it: clients report the one or the other (/tmp is /private/tmp on a Mac).
        named = [os.path.abspath(os.path.expanduser(one)) for one in directories]
        self._directories = tuple(dict.fromkeys(_plain(form) for one in named for form in (one, os.path.realpath(one))))
        self._memory = memory
        self._eraser = JournalEraser(journal)
        self._dropped = False
        self._sessions = self._recall()
        self.found: list[str] = []  # sessions that were not known before: what they sent earlier may be stored

    def kept(self, exchanges: Sequence[RecordedExchange]) -> list[RecordedExchange]:
        """Return those that may be stored. One in flight whose body is not there yet may not: it comes again."""
        told = [(exchange, *self._read(exchange)) for exchange in exchanges]
        for _, session, inside in told:
            if inside and session is not None:
                self._remember(session)
        kept = []
        for exchange, session, inside in told:
            if inside or (session is not None and _key(session) in self._sessions):
                self._dropped = True
                continue
            if exchange.state is not State.IN_FLIGHT or exchange.request_body.kept is not BodyKept.PARTIAL:
                kept.append(exchange if session is not None else _without_messages(exchange))
        return kept

    def covers(self, project: str) -> bool:
        """Tell whether a directory is an excluded one, or below one."""
        plain = _plain(project)
        return any(plain == one or plain.startswith(one.rstrip("/") + "/") for one in self._directories)

    def _read(self, exchange: RecordedExchange) -> tuple[str | None, bool]:
        """Return an exchange's session, and whether its request comes from an excluded directory."""
        hints = Hints(exchange.headers)
        body = exchange.request_body.data
        if not body:
            said = () if exchange.websocket is None else exchange.websocket.messages
            return session_of(hints, {}), any(self._named_in(message.data) for message in said)
        try:
            cut = layout(body)
            strings = body_strings(body, {member.key: member for member in cut.members})
        except JSONSpanError:
            return session_of(hints, {}), self._named_in(body)
        session = session_of(hints, strings)
        for block in cut.blocks:
            if block.section is Section.TOOLS or block.role == "assistant":
                continue
            view = read_block(body[block.start : block.end], b"")
            if view.cwd is not None and (block.role == "system" or view.is_reminder):
                return session, self.covers(view.cwd)
        # A batch, or a layout that we do not know: its words are not among these blocks.
        return session, not cut.blocks and self._named_in(body)

    def _named_in(self, body: bytes) -> bool:
        text = body.decode("utf-8", "replace").replace("\\\\", "/").replace("\\/", "/")
        text = text.casefold() if _FOLDED else text
        return any(one in text for one in self._directories)

    def tidy(self, storage: CaptureStorage) -> None:
        """Delete what sessions sent before they said where they are (titles, counts), and the journal's bytes of what
        was dropped. Apart from `kept` because it may take a while. What fails is logged and left for the next call."""
        while self.found:
            try:
                report = Retention(storage, pause=lambda _: None).delete_unplaced(self.found[0])
            except StorageError as error:
                log.error("first requests of an excluded session are not deleted yet", error=str(error))
                return
            self.found.pop(0)
            self._dropped = True
            log.info("session excluded", deleted=report.requests)
        if self._dropped:  # from now on: the cursor may stand still for as long as something older runs
            self._eraser.erase(storage.cursors())

    # --- sessions -------------------------------------------------------------------------------------------

    def _remember(self, session: str) -> None:
        key = _key(session)
        if key in self._sessions:
            return
        self.found.append(session)
        self._sessions[key] = None
        with suppress(OSError):  # a full disk: known until the process ends
            descriptor = open_private(self._memory, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(descriptor, "a", encoding="ascii") as file:
                file.write(f"{key}\n")

    def _recall(self) -> dict[str, None]:
        try:
            keys = read_private(self._memory).decode("ascii", "replace").split()
        except OSError:
            return {}
        if len(keys) > MAX_SESSIONS:
            keys = keys[-MAX_SESSIONS // 2 :]
            with suppress(OSError):
                replace_private(self._memory, "".join(f"{key}\n" for key in keys).encode("ascii"))
        return dict.fromkeys(keys)


def _key(session: str) -> str:
    return sha256(session.encode()).hexdigest()[:32]


def _plain(path: str) -> str:
    """A path as text: one kind of slash, none at the end, no dots; nothing is looked up."""
    text = posixpath.normpath(path.strip().replace("\\", "/"))
    return text.casefold() if _FOLDED else text


def _without_messages(exchange: RecordedExchange) -> RecordedExchange:
    """Of a WebSocket that names no session nobody knows whose it is: only how much passed is kept."""
    if (websocket := exchange.websocket) is None:
        return exchange
    sent, received = (
        WebSocketStream(kept=BodyKept.POLICY, length=one.length, recorded=0)
        for one in (websocket.sent, websocket.received)
    )
    return replace(exchange, websocket=RecordedWebSocket(sent=sent, received=received, messages=()))
