"""The workers as a whole, in the place of the one `Relay`: what they share, their start, their end, their numbers.

Apart from the service, which does not care how many processes relay. It accepts no connection itself: when this process
computes (an export, a page of the API) no client waits for it. When it dies, however it dies, the workers' standard
input ends with it, and they drain.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import ClaudeProxyError, ConfigError
from claudeproxy.relaying import Address, Relay
from claudeproxy.workers.adding import add
from claudeproxy.workers.board import Board
from claudeproxy.workers.keeping import WorkerKeeper
from claudeproxy.workers.order import Order
from claudeproxy.workers.spare import Spare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.proxy.accepting import SharedListener
    from claudeproxy.relaying import Waker
    from claudeproxy.relaysettings import RelaySettings


class WorkerError(ClaudeProxyError):
    """A worker did not start; one line that says why."""


class WorkerPool:
    """So many workers, as a `Relay`: `prepare`, then `run`."""

    def __init__(self, settings: RelaySettings, workers: int) -> None:
        self._settings = settings
        self._workers = workers
        self._keepers: Sequence[WorkerKeeper] = ()

    async def prepare(self) -> None:
        """Make what the home lacks and try the settings, once, before there are workers. Raises as `Relay.prepare`."""
        if os.name == "nt":
            raise ConfigError("workers: there can be one on Windows, where processes do not inherit sockets")
        await Relay(self._settings).prepare()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener | SharedListener],
        recorder: Waker | None,
        *,
        task_status: trio.TaskStatus[Sequence[Address]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the workers until cancelled, then let them drain; started with the addresses once all of them serve.

        Raises WorkerError when one does not start; later ends of theirs are only logged and counted.
        """
        board = Board(self._workers)
        orders = [
            Order(
                settings=self._settings.share(self._workers),
                worker=worker,
                workers=self._workers,
                listeners=[listener.socket.fileno() for listener in listeners],
                board=board.descriptor,
                wake=None if recorder is None else recorder.wake_fd,
            )
            for worker in range(self._workers)
        ]
        spare = Spare(orders[0].descriptors)
        self._keepers = [WorkerKeeper(order, spare, partial(board.clear, order.worker)) for order in orders]
        bound = [listener.socket.getsockname()[:2] for listener in listeners]
        try:
            async with trio.open_nursery() as nursery:
                try:
                    for keeper in self._keepers:
                        nursery.start_soon(keeper.run)
                    await self._begun()
                    nursery.start_soon(spare.run)
                    task_status.started(bound)
                    await trio.sleep_forever()
                finally:
                    for listener in listeners:
                        listener.socket.close()
                    for keeper in self._keepers:
                        keeper.finish()
                    spare.finish()
        finally:
            board.close()

    async def _begun(self) -> None:
        for keeper in self._keepers:
            await keeper.begun.wait()
            if keeper.problem:
                raise WorkerError(keeper.problem)

    def kill(self) -> None:
        """End all workers now: what they had open is recorded as interrupted."""
        for keeper in self._keepers:
            keeper.kill()

    @property
    def healthy(self) -> bool:
        """Whether all workers serve, and wrote to their journals all that passed."""
        capture = self.statistics()["capture"]
        lacking = isinstance(capture, dict) and (capture["dropped"] or capture["lost"])
        return not lacking and all(keeper.serves for keeper in self._keepers)

    def statistics(self) -> Mapping[str, object]:
        """As `Relay.statistics`, of all of them together; `workers` are they one by one."""
        parts = [part for keeper in self._keepers for part in (keeper.said, keeper.left) if part]
        found = {"proxy": None, "capture": None, **add(parts)}
        return {**found, "workers": [_of(keeper) for keeper in self._keepers]}


def _of(keeper: WorkerKeeper) -> Mapping[str, object]:
    proxy = keeper.said.get("proxy")
    numbers = proxy if isinstance(proxy, dict) else {}
    return {
        "worker": keeper.number,
        "pid": keeper.pid,
        "serves": keeper.serves,
        "restarts": keeper.restarts,
        **{name: numbers.get(name, 0) for name in ("connections", "connections_total", "exchanges_total")},
    }
