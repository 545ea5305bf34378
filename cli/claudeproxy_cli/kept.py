"""The proxy behind one address, for as long as a command runs, whatever becomes of the process that serves it.

A command is told the address once, in its environment, so that address must go on answering. `run` holds the listening
socket itself and hands it to the proxy that it starts: when that process dies, connections under way break, new ones
wait in the socket's queue, and the next process takes them. A proxy that somebody else runs (`claudeproxy serve`) keeps
its own socket; when it is gone, `run` opens one on the same port and starts a proxy of its own there.

One thread watches, because whoever runs the command must do nothing else. On Windows, where sockets are not inherited
so, the next process binds the port again.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading  # noqa: TID251  (`run` waits for the command; somebody else has to wait for the proxy)
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from claudeproxy_cli.attached import AttachedServer, StartError
from claudeproxy_cli.running import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


Start: TypeAlias = "Callable[[socket.socket | None, tuple[str, int]], AttachedServer]"

LOOK_SECONDS: Final = 0.5  # between two looks at a proxy that is not our child
STEADY_SECONDS: Final = 10.0  # a process that lived so long was no failed start: the count of deaths begins anew
LONGEST_PAUSE: Final = 10.0
MOST_DEATHS: Final = 10  # in a row; then there is no use in another one. With the pauses some minute and a half

_BACKLOG: Final = 1024
_READ_SECONDS: Final = 0.2  # for the request of a client that is refused
_SORRY: Final = b"claudeproxy: the proxy does not start; see run.log\n"
_UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_SORRY), _SORRY)
)


class KeptServer:
    """A proxy that is there until `stop`. `address` never changes; `pids` are those that served it, the latest last.

    :param start: starts a process on the socket (None: on the address) and waits until it serves. Raises StartError.
        None: nobody but the person can start what served, by options that are not known here.
    :param server: our own process, started already; None: somebody else serves, whose process is `pid`.
    :param listener: the socket that it serves, None for somebody else's.
    :param say: takes sentences for the person, in the watching thread.
    """

    def __init__(
        self,
        start: Start | None,
        *,
        address: tuple[str, int],
        pid: int,
        server: AttachedServer | None,
        listener: socket.socket | None,
        say: Callable[[str], None],
    ) -> None:
        self.address = address
        self.pids: Sequence[int] = (pid,)
        self._start = start
        self._server = server
        self._listener = listener
        self._say = say
        self._problem = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keep the proxy", daemon=True)
        self._thread.start()

    @property
    def own(self) -> bool:
        """Whether the process that serves is ours (now)."""
        return self._server is not None

    def stop(self, timeout: float) -> bool:
        """Stop keeping, let a process of ours drain and record, `timeout` seconds at the most; whether it ended so."""
        self._stopping.set()
        server = self._server
        ended = server is None or server.stop(timeout)
        self._thread.join()
        if self._server is not server and self._server is not None:  # it was being started when we came
            ended = self._server.stop(timeout)
        if self._listener is not None:
            self._listener.close()
        return ended

    # ---- the thread

    def _keep(self) -> None:
        deaths = 0
        while not self._stopping.is_set():  # or who stops would wait for us, and we for the process that it is to stop
            began = time.monotonic()
            cause = self._wait_for_end()
            if self._stopping.is_set():
                return
            deaths = deaths + 1 if time.monotonic() - began < STEADY_SECONDS else 1
            while not self._again(cause, deaths):
                deaths += 1
                if self._stopping.is_set():
                    return
                if deaths > MOST_DEATHS:
                    self._say(f"the proxy died or did not start {MOST_DEATHS} times in a row; it is not started again")
                    self._refuse(None)
                    return

    def _wait_for_end(self) -> str:
        """Wait until the process that serves is gone, or `stop`; how it ended."""
        if self._server is not None:
            code = self._server.wait()
            self._server.stop(0)  # gives its pipe back
            return f"exit code {code}" if code >= 0 else _signal_name(-code)
        gone = False
        while not self._stopping.wait(LOOK_SECONDS):
            if answers(self.address):
                gone = False
            elif self._start is None and not gone:
                gone = True
                self._say("the proxy no longer answers; start `claudeproxy serve` again as it was started")
            elif self._start is not None and self._take_port():
                return "it no longer answered"
        return ""

    def _take_port(self) -> bool:
        """Open the port that somebody else's proxy left; False while it is taken: by one that follows, it may be."""
        if os.name == "nt":
            return True
        try:
            self._listener = open_listener(self.address)
        except OSError:
            return False
        return True

    def _again(self, cause: str, deaths: int) -> bool:
        """Start another process, after a pause when others died just before; whether it serves."""
        if deaths > 1:
            self._refuse(min(LONGEST_PAUSE, 0.25 * 2 ** (deaths - 2)))
        if self._stopping.is_set() or self._start is None:
            return False
        try:
            self._server = self._start(self._listener, self.address)
        except StartError as error:
            if str(error) != self._problem:  # said once, tried again and again
                self._problem = str(error)
                self._say(f"the proxy ended ({cause}) and cannot be started again now: {error}")
            return False
        self._problem = ""
        self.pids = (*self.pids, self._server.pid)
        self._say(f"the proxy ended ({cause}) and was started again on the same port; requests under way were cut off")
        return True

    def _refuse(self, seconds: float | None) -> None:
        """For so long (None: until `stop`) tell clients at once that nobody is there: better than to let them wait."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._stopping.is_set():
            left = 0.25 if until is None else min(0.25, until - time.monotonic())
            if left <= 0:
                return
            if self._listener is None:
                self._stopping.wait(left)
            elif select.select([self._listener], [], [], left)[0]:
                _turn_away(self._listener)


def open_listener(address: tuple[str, int]) -> socket.socket:
    """A socket that listens there (port 0: any free one). Raises OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.create_server(address, family=family, backlog=_BACKLOG)


def _turn_away(listener: socket.socket) -> None:
    with suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_READ_SECONDS)
            with suppress(OSError):
                connection.recv(65536)  # unread, it would turn our close into a reset that eats the answer
            connection.sendall(_UNAVAILABLE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
