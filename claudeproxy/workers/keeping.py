"""One worker's place: a process in it, and another one when that dies.

Apart from `pool`, which knows how many there are and what they share. What a process had open when it died is broken;
connections that wait at the socket are not its own, and the other workers take them meanwhile. So there is no hurry
for a process that keeps dying: it is started again after growing pauses.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from claudeproxy.logs import get_logger
from claudeproxy.workers.adding import add, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.workers.order import Order
    from claudeproxy.workers.spare import Spare

log = get_logger("claudeproxy.workers")

STEADY_SECONDS: Final = 10.0  # a process that lived so long is followed by another one at once
FIRST_PAUSE: Final = 0.25  # after one that did not; doubled from one to the next, up to
LONGEST_PAUSE: Final = 10.0
START_SECONDS: Final = 60.0  # a cold start on a busy machine takes three
LATE_SECONDS: Final = 5.0  # beyond the time that connections have to end; then a worker is not waited for


class WorkerKeeper:
    """Keeps a process for `order` running until `finish`. `begun`: it serves, or `problem` says why it never did.

    :param spare: gives the processes.
    :param gone: is called when one has ended.
    """

    def __init__(self, order: Order, spare: Spare, gone: Callable[[], None]) -> None:
        self.number = order.worker + 1
        self.begun = trio.Event()
        self.problem = ""
        self.restarts = 0
        self.serves = False
        self.said: Mapping[str, object] = {}  # what the process says of itself, as of a quarter of a second ago
        self.left: Mapping[str, object] = {}  # what is left of those before it
        self._order = order
        self._spare = spare
        self._gone = gone
        self._process: trio.Process | None = None
        self._finishing = trio.Event()

    @property
    def pid(self) -> int | None:
        """The process, None between two of them."""
        return None if self._process is None else self._process.pid

    def finish(self) -> None:
        """Let the process drain and end."""
        self._finishing.set()

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()

    async def run(self) -> None:
        """Keep it. Shielded: the end is the caller's `finish`."""
        pause = 0.0
        with trio.CancelScope(shield=True):
            while not self._finishing.is_set():
                began = trio.current_time()
                code = await self._one_life()
                if not self.begun.is_set():
                    self.problem = self.problem or f"worker {self.number} ended at its start (exit code {code})"
                    self.begun.set()
                    return
                if self._finishing.is_set():
                    return
                self.restarts += 1
                log.error("worker ended", worker=self.number, exit_code=code, restarts=self.restarts)
                steady = trio.current_time() - began > STEADY_SECONDS
                with trio.move_on_after(0 if steady else pause):
                    await self._finishing.wait()
                pause = 0.0 if steady else min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)

    async def _one_life(self) -> int | None:
        """One process from its start to its end; its exit code, None when there was none."""
        try:
            process = await self._spare.take()
        except OSError as error:
            self.problem = f"worker {self.number} does not start: {error.strerror}"
            log.error("worker does not start", worker=self.number, error=str(error))
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        try:
            async with process.stdin, process.stdout, trio.open_nursery() as nursery:
                nursery.start_soon(self._end, process, process.stdin)
                nursery.start_soon(self._kill_when_stuck, process)
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it is dead, or to end already
                    await process.stdin.send_all(self._order.to_bytes())
                await self._hear(process.stdout)
                code = await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._process, self.serves = None, False
            self.left, self.said = add([one for one in (totals(self.said), self.left) if one]), {}
            self._gone()
        return code

    async def _hear(self, stdout: trio.abc.ReceiveStream) -> None:
        """Take one JSON object a line until the process closes its standard output."""
        buffer = b""
        async for data in stdout:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                with suppress(ValueError):
                    self._take(json.loads(line))

    def _take(self, message: Mapping[str, object]) -> None:
        if "serves" in message:
            self.serves = True
            self.begun.set()
            log.info("worker serves", worker=self.number, pid=self.pid)
        elif "error" in message:
            self.problem = str(message["error"])
            log.error("worker cannot work", worker=self.number, error=self.problem)
        else:
            self.said = message

    async def _end(self, process: trio.Process, stdin: trio.abc.SendStream) -> None:
        await self._finishing.wait()
        await stdin.aclose()
        await trio.sleep(self._order.settings.proxy.drain_seconds + LATE_SECONDS)
        log.error("worker does not end", worker=self.number, pid=process.pid)
        process.kill()

    async def _kill_when_stuck(self, process: trio.Process) -> None:
        await trio.sleep(START_SECONDS)
        if not self.serves:
            self.problem = f"worker {self.number} did not serve within {START_SECONDS:.0f} seconds"
            process.kill()
