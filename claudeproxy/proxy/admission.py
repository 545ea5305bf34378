"""How many connections there may be: of all clients, and of one.

Apart from the server, which accepts, because who has to make room for whom is a policy: a connection that lies between
two requests gives way to a new one, the longest unused first; one that is in use never does. A client that reached its
own number displaces its own connections only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.proxy.context import ProxyContext

log = get_logger("claudeproxy.proxy")

# While every connection is in use: between two looks for one that no longer is.
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """The place that one connection takes."""

    client: str


class Admission:
    """The places of one server. `refused` and `displaced` count connections since it was made.

    `on_load` is told how many places are taken, whenever one was asked for or given back.
    """

    def __init__(self, context: ProxyContext, on_load: Callable[[int], None] = lambda _: None) -> None:
        self._context = context
        self._on_load = on_load
        self._slots = trio.CapacityLimiter(context.settings.max_connections)
        self._of: Counter[str] = Counter()
        self.refused = 0
        self.displaced = 0

    async def admit(self, client: str) -> Admitted | None:
        """A place for a connection of this address, once there is one; None when the address has too many in use."""
        admitted = Admitted(client)
        if self._of[client] >= self._context.settings.max_connections_per_client and not self._displace(client):
            self.refused += 1
            log.warning("connection refused: the client has max_connections_per_client in use", client=client)
            self._on_load(self._slots.borrowed_tokens)
            return None
        while True:
            if not self._slots.available_tokens:
                self._displace(None)
            with trio.move_on_after(LOOK_SECONDS):
                await self._slots.acquire_on_behalf_of(admitted)
                break
        self._of[client] += 1
        self._on_load(self._slots.borrowed_tokens)
        return admitted

    def release(self, admitted: Admitted) -> None:
        """The connection has ended."""
        self._slots.release_on_behalf_of(admitted)
        self._of[admitted.client] -= 1
        if not self._of[admitted.client]:
            del self._of[admitted.client]
        self._on_load(self._slots.borrowed_tokens)

    def _displace(self, client: str | None) -> bool:
        done = self._context.close_longest_idle(client)
        self.displaced += done
        return done
