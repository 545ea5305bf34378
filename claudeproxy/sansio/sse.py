"""Server-sent events as the WHATWG HTML standard (9.2.6, "Interpreting an event stream") reads them.

Apart from `answer`, which knows what the events mean. Used for the record only, on decoded bodies: the relay passes
streams on untouched. It does not reconnect, and an event that the input ends in is discarded, as the standard says.
"""

from __future__ import annotations

from dataclasses import dataclass

from claudeproxy.errors import ProtocolError

# A whole content block may travel as one event (a fetched document); real ones are far below this.
MAX_EVENT_BYTES = 16 << 20

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One dispatched event. `event` is ``message`` where the stream named none; `id` the last one seen, if any."""

    event: str
    data: str
    id: str | None = None


class SSEParser:
    """Collects lines into events; any split of the input gives the same events.

    `max_event_bytes` bounds what is held between two events. ProtocolError beyond it; the parser is done for then.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._tail: list[bytes] = []  # pieces of a line that has not ended
        self._tail_bytes = 0
        self._at_start = True
        self._skip_newline = False
        self._held = 0
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Events that `data` completes, in order."""
        events: list[Event] = []
        for line in self._lines(data):
            if line:
                self._held += len(line)
                self._field(line)
            else:
                event = self._dispatch()
                if event is not None:
                    events.append(event)
        if self._held + self._tail_bytes > self._max:
            raise ProtocolError(f"a server-sent event of more than {self._max} bytes")
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        if self._skip_newline and data:
            # The CR before ended its line already; its LF may arrive later.
            data = data.removeprefix(b"\n")
            self._skip_newline = False
        if not data:
            return []
        self._tail.append(data)
        self._tail_bytes += len(data)
        if b"\n" not in data and b"\r" not in data and not self._at_start:
            return []
        text = b"".join(self._tail)
        if self._at_start:
            if len(text) < len(_BOM) and _BOM.startswith(text):
                self._tail = [text]
                return []
            self._at_start = False
            text = text.removeprefix(_BOM)
        # Of bytes, splitlines() knows exactly the three line ends of the standard: CR LF, LF, CR.
        lines = text.splitlines()
        if text.endswith((b"\r", b"\n")):
            self._tail = []
            self._skip_newline = text.endswith(b"\r")
        else:
            self._tail = [lines.pop()] if lines else []
        self._tail_bytes = sum(map(len, self._tail))
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        # A comment (empty name), `retry` and unknown fields say nothing about the content.

    def _dispatch(self) -> Event | None:
        data, event = self._data, self._event
        self._data, self._event, self._held = [], "", 0
        if not data:
            return None
        return Event(event=event or "message", data="\n".join(data), id=self._id)
