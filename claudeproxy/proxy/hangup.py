"""Notices a client that hangs up while nobody receives from it.

Apart from `reader`, which hears of a client's end by receiving. While it waits for somebody else (an upstream that
takes no more of a body, one that is still being dialled) it receives nothing, and a reset would be noticed only when
that somebody moves, which may be never. So the socket itself is asked, every few hundredths of a second and only while
such a wait lasts: an upload that flows costs one task that sleeps once. Nothing is read here.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_SECONDS = 0.04
"""Between two looks. A wait that saw two of them is a wait; so an end is noticed within 0.08 s, as Esc deserves."""


class HangupWatch:
    """Calls `on_hangup` when the client whose socket is `raw` ends during `unread`.

    A mere FIN counts: it is what `reader` takes for the end too (a client that is through with sending and still wants
    the answer cannot be told from one that was closed, and the user pays for what nobody reads). It is seen when it has
    arrived, which it has not while the client's own system still holds bytes that we did not take; a reset overtakes
    them.
    """

    def __init__(self, raw: trio.abc.Stream, on_hangup: Callable[[], None]) -> None:
        self._raw = raw
        self._on_hangup = on_hangup
        self._since: float | None = None
        self._watching = False

    def __repr__(self) -> str:
        return f"<HangupWatch {'on' if self._watching else 'off'}>"

    @contextmanager
    def unread(self, nursery: trio.Nursery) -> Iterator[None]:
        """Nobody receives meanwhile; `nursery` runs the task that looks."""
        self._since = trio.current_time()
        if not self._watching and can_look(self._raw):
            self._watching = True
            nursery.start_soon(self._watch)
        try:
            yield
        finally:
            self._since = None

    async def _watch(self) -> None:
        try:
            while True:
                before = trio.current_time()
                await trio.sleep(LOOK_SECONDS)
                if self._since is None:
                    return
                if self._since <= before and hung_up(self._raw):
                    self._on_hangup()
                    return
        finally:
            self._watching = False


def can_look(raw: trio.abc.Stream) -> bool:
    """Whether the system can be asked: a socket, and not Windows, where such a client is noticed when it is read."""
    return isinstance(raw, trio.SocketStream) and hasattr(select, "poll")


def hung_up(raw: trio.abc.Stream) -> bool:
    """Whether the peer of a socket closed or reset it, whatever is still unread; False where it cannot be told."""
    if not isinstance(raw, trio.SocketStream) or raw.socket.fileno() < 0:
        return False
    poll = select.poll()
    # Errors and hang-ups are always reported; POLLRDHUP, a FIN, is Linux's own (elsewhere it shows as POLLHUP).
    poll.register(raw.socket.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
