"""`LiveFeed`: wakes those who follow captures while they are made, and lets go of those who do not keep up.

The recorder is another process, so the only thing that tells of a change is the database. One task asks it for the
number of its latest change, at a moderate interval and only while somebody listens; when the number moves, everyone is
woken and reads on from where they are. So there is no queue that a slow reader could fill, nobody waits for anybody,
and a reader that falls behind misses nothing. What must not last is a reader that takes *nothing*: it holds a place and
a connection, and its send cannot be cancelled. After `patience` seconds its connection is cut; it may come back and go
on from the last number it saw.

Apart from the API, which knows how a feed looks on the wire. It knows no database: it is handed the question.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

import trio

from claudeproxy.errors import ClaudeProxyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MAX_SUBSCRIBERS: Final = 32
"""Each costs a connection and a query a change; a person has a few pages open."""

INTERVAL: Final = 0.15
"""Seconds between two questions to the database: what happens looks immediate, and one costs some 0.2 ms."""

PATIENCE: Final = 10.0
"""Seconds that a reader may take over one event. The sockets' buffers hold thousands before anything blocks."""

PARTING: Final = 0.5
"""Seconds that readers have at the end of the feed to be told so."""


class FeedFullError(ClaudeProxyError):
    """There are as many subscribers as there may be."""


class Subscription:
    """One reader. `sending` tells the feed when something is being given to it."""

    def __init__(self, feed: LiveFeed, cut_off: Callable[[], None]) -> None:
        self._feed = feed
        self._cut_off = cut_off
        self._since: float | None = trio.current_time()  # what opens the feed must be taken too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the feed has ended: no change will be told any more."""
        return self._feed.ended

    def mark(self) -> trio.Event:
        """An event that is set by the first change after now, or by the end. Take it, then read, then wait for it."""
        return self._feed.changed

    def take(self) -> None:
        """The reader has taken what it was given."""
        self._since = None

    def give(self) -> None:
        """From now on the reader is expected to take something."""
        self._since = trio.current_time()

    @contextmanager
    def giving(self) -> Iterator[None]:
        """Around a send."""
        self.give()
        yield
        self.take()

    def close(self) -> None:
        """Give the place back; may be called again."""
        self._feed.leave(self)

    def stalled(self, patience: float) -> bool:
        """Whether it has been given something for longer than that, and has not taken it."""
        return self._since is not None and trio.current_time() - self._since > patience

    def cut_off(self) -> None:
        """End its connection now, whatever is being sent."""
        self._cut_off()
        self.close()


class LiveFeed:
    """The subscribers of one database; `run` serves them.

    :param newest: asks for the number of the latest change. What it raises ends `run`.
    """

    def __init__(
        self,
        newest: Callable[[], Awaitable[int]],
        *,
        limit: int = MAX_SUBSCRIBERS,
        interval: float = INTERVAL,
        patience: float = PATIENCE,
    ) -> None:
        self._newest = newest
        self._limit = limit
        self._interval = interval
        self._patience = patience
        self._subscriptions: set[Subscription] = set()
        self._wanted = trio.Event()
        self._deserted = trio.Event()
        self._number: int | None = None
        self.changed = trio.Event()
        self.ended = False
        self.dropped = 0  # readers cut off because they took nothing

    def __len__(self) -> int:
        """How many are subscribed."""
        return len(self._subscriptions)

    def statistics(self) -> dict[str, int]:
        """Readers now and at most, and how many were cut off since the start because they took nothing."""
        return {"readers": len(self), "limit": self._limit, "dropped": self.dropped}

    def subscribe(self, cut_off: Callable[[], None]) -> Subscription:
        """Take a place; `cut_off` closes the reader's connection at once. Raises FeedFullError."""
        if len(self._subscriptions) >= self._limit:
            raise FeedFullError(f"there are {self._limit} live subscribers already")
        subscription = Subscription(self, cut_off)
        self._subscriptions.add(subscription)
        self._wanted.set()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Give a place back."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._deserted.set()

    async def run(self, ending: trio.Event) -> None:
        """Look for changes and wake the subscribers until `ending` is set, then tell them and cut off who stays."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await ending.wait()
            nursery.cancel_scope.cancel()
        self.ended = True
        self._wake()
        if self._subscriptions:
            self._deserted = trio.Event()
            with trio.move_on_after(PARTING):
                await self._deserted.wait()
        for subscription in tuple(self._subscriptions):
            subscription.cut_off()

    async def _watch(self) -> None:
        while True:
            if not self._subscriptions:
                self._wanted = trio.Event()
                await self._wanted.wait()
            number = await self._newest()
            if number != self._number:
                self._number = number
                self._wake()
            for subscription in [one for one in self._subscriptions if one.stalled(self._patience)]:
                self.dropped += 1
                subscription.cut_off()
            await trio.sleep(self._interval)

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
