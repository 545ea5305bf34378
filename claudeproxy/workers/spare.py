"""A process that has loaded everything and waits to be told which worker it is.

Apart from `keeping`, which takes it when a worker has died. To start Python and load what a relay needs takes half a
second on a machine with nothing else to do, and three on a busy one; a process that has done that before serves within
some hundredths. One is kept: two that die together are a machine in trouble, where half a second is no matter.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import trio

from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

log = get_logger("claudeproxy.workers")

AGAIN_SECONDS: Final = 10.0  # after a spare one that died, or did not start: nobody waits for it


async def start_process(descriptors: Sequence[int]) -> trio.Process:
    """Start a process that waits for its order on standard input. Raises OSError.

    :param descriptors: what it inherits.
    """
    return await trio.lowlevel.open_process(
        # -P: without it `-m` looks for modules in the directory we stand in, and that is somebody's project.
        [sys.executable, "-P", "-m", "claudeproxy.workers.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=descriptors,
    )


class Spare:
    """The process that waits; all that workers inherit is the same (`descriptors`)."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = descriptors
        self._process: trio.Process | None = None
        self._changed = trio.CancelScope()
        self._finishing = False

    async def take(self) -> trio.Process:
        """The process that waits, or, where there is none, a new one; the caller's from now on. Raises OSError."""
        process, self._process = self._process, None
        self._changed.cancel()
        if process is not None and process.poll() is None:
            return process
        if process is not None:
            await _end(process)
        return await start_process(self._descriptors)

    def finish(self) -> None:
        """There is to be none any more."""
        self._finishing = True
        self._changed.cancel()

    async def run(self) -> None:
        """See to it that there is one, until `finish`. Shielded."""
        with trio.CancelScope(shield=True):
            while not self._finishing:
                with trio.CancelScope() as self._changed:
                    await self._one()
            if self._process is not None:
                await _end(self._process)

    async def _one(self) -> None:
        """Start one, unless there is one, and wait until it dies; cancelled when it is taken."""
        try:
            with trio.CancelScope(shield=True):
                process = self._process = self._process or await start_process(self._descriptors)
        except OSError as error:
            log.warning("spare worker does not start", error=str(error))
        else:
            code = await process.wait()
            self._process = None
            await _end(process)
            log.warning("spare worker ended", exit_code=code)
        await trio.sleep(AGAIN_SECONDS)


async def _end(process: trio.Process) -> None:
    """Let go of one that has nothing to do."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.kill()
    with trio.CancelScope(shield=True):
        async with process.stdin, process.stdout:
            await process.wait()
