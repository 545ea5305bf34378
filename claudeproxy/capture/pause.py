"""A pause of capture: a file in home that says so, and the tap that looks at it.

Apart from `tap`, which writes what it is told, because a pause is told to every relay of a home at once, also to those
that start later, and by whoever may write there: no server has to run to be paused. Looking costs one ``stat`` at the
beginning of an exchange, some microseconds; the file is read again only when it has changed. In doubt (it is there and
cannot be understood) capture is paused: what was not to be recorded cannot be taken back.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from claudeproxy.private import replace_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from claudeproxy.model import (
        Buffer,
        Direction,
        ExchangeEnd,
        ExchangeStart,
        ExchangeTap,
        RawHeaders,
        ResponseStart,
        Tap,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Since when, and until when; ns since the epoch. None: not known, and until it is ended."""

    since: int | None
    until: int | None


class PauseFile:
    """The file at `path`. One instance may be asked again and again; not thread-safe.

    :param clock: ns since the epoch.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._name = os.fspath(path)
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self._pause: Pause | None = None

    def pause(self, *, now: int, until: int | None) -> Pause:
        """Pause from now on. OSError when the file cannot be written."""
        pause = Pause(since=now, until=until)
        replace_private(self._path, json.dumps(asdict(pause)).encode("ascii"))
        return pause

    def resume(self) -> None:
        """End a pause, if there is one. OSError when the file cannot be removed."""
        with suppress(FileNotFoundError):
            self._path.unlink()

    def read(self) -> Pause | None:
        """The pause that is in force, None when there is none. Never raises."""
        try:
            status = os.stat(self._name)
        except (FileNotFoundError, NotADirectoryError):
            self._seen = self._pause = None
            return None
        except OSError:
            return Pause(since=None, until=None)
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._pause, self._seen = self._parse(), seen
        if self._pause is not None and self._pause.until is not None and self._pause.until <= self._clock():
            return None
        return self._pause

    def _parse(self) -> Pause | None:
        try:
            told = json.loads(self._path.read_bytes())
            return Pause(since=_instant(told["since"]), until=_instant(told["until"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return Pause(since=None, until=None)


class PausingTap:
    """Implements `model.Tap`: `inner` gets every exchange that does not begin in a pause, to its end."""

    def __init__(self, inner: Tap, file: PauseFile) -> None:
        self._inner = inner
        self._file = file
        self.passed = 0  # exchanges that were not told

    def exchange(self, start: ExchangeStart) -> ExchangeTap:
        """Begin an exchange."""
        if self._file.read() is None:
            return self._inner.exchange(start)
        self.passed += 1
        return _UNTOLD


class _Untold:
    """Takes everything, keeps nothing."""

    def request_body(self, data: Buffer) -> None: ...
    def informational(self, status_code: int, headers: RawHeaders) -> None: ...
    def response_start(self, head: ResponseStart) -> None: ...
    def response_body(self, data: Buffer) -> None: ...
    def websocket(self, direction: Direction, data: Buffer) -> None: ...
    def end(self, end: ExchangeEnd) -> None: ...


_UNTOLD = _Untold()


def _instant(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("not an instant")
