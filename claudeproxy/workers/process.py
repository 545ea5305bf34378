"""The process of a worker: ``python -m claudeproxy.workers.process``, started by `keeping` and by nobody else.

Its standard input brings what it is to do, and then says by its end that this is all: connections are drained, the
process ends. That end comes by itself when the process dies that started us. Standard output takes a line of JSON when
it serves, and then one whenever its numbers have changed. Signals are for the process that started us: Ctrl-C reaches
the whole group, and who drains whom is decided there.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from claudeproxy.capture import wake
from claudeproxy.errors import ClaudeProxyError
from claudeproxy.logs import configure_logging, get_logger
from claudeproxy.memory import forget_loaded, return_large_blocks
from claudeproxy.proxy.accepting import SharedListener
from claudeproxy.relaying import Relay
from claudeproxy.workers.board import Board
from claudeproxy.workers.order import read_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.workers.order import Order

log = get_logger("claudeproxy.workers")

REPORT_SECONDS: Final = 0.25


class _Recorder:
    """The recorder as a worker knows it: the writing end of its pipe."""

    def __init__(self, descriptor: int) -> None:
        self.wake_fd: int | None = descriptor

    def wake(self) -> None:
        if self.wake_fd is not None:
            wake.notify(self.wake_fd)


def report(message: Mapping[str, object]) -> None:
    """Write a line to standard output, if there is room: never waits, never raises."""
    line = json.dumps(message).encode() + b"\n"
    if len(line) <= select.PIPE_BUF:  # up to this it is written whole or not at all
        with suppress(OSError):
            os.write(1, line)


async def run(order: Order) -> None:
    """Serve until standard input ends, then drain."""
    board = Board(order.workers, order.board)
    seat = board.seat(order.worker)
    relay = Relay(order.settings, on_load=seat.load)
    await relay.prepare()
    forget_loaded()
    recorder = None if order.wake is None else _Recorder(order.wake)
    listeners = [SharedListener(socket.socket(fileno=number), seat) for number in order.listeners]
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as serving:
            nursery.start_soon(_until_input_ends, serving)
            try:
                async with trio.open_nursery() as inner:
                    await inner.start(relay.run, listeners, recorder)
                    seat.begin()
                    report({"serves": True})
                    nursery.start_soon(_tell, relay)
            finally:
                seat.end()
        nursery.cancel_scope.cancel()
    report(relay.statistics())


async def _until_input_ends(serving: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for _ in stream:
            pass
    serving.cancel()


async def _tell(relay: Relay) -> None:
    last: Mapping[str, object] = {}
    while True:
        said = relay.statistics()
        if said != last:
            report(last := said)
        await trio.sleep(REPORT_SECONDS)


def main() -> int:
    """Take the order, serve, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o077)
    os.set_blocking(1, False)
    order = read_order(0)
    if order is None:
        return 0
    configure_logging(order.settings.log_format, order.settings.log_level)
    return_large_blocks()
    problem = ""
    try:
        trio.run(run, order)
    except* ClaudeProxyError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        problem = " ".join(str(error).split())
        report({"error": problem})
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
