"""Starts a run of retention once a day, for as long as the service runs.

Apart from `retaining`, which is such a run and knows no trio. By the wall clock, looked at every minute: a machine that
slept through the hour runs it after waking, and one that is restarted every hour does not run it every hour. What goes
wrong is logged and tried again; nothing here ends the service.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.retaining import RetentionSettings

log = get_logger("claudeproxy.daily")

FIRST = 300.0  # seconds after the start: whoever starts a proxy wants to use it now
EVERY = 86_400.0  # seconds from the end of a run, of whatever service, to the next
AGAIN = 3_600.0  # seconds after a run that failed
LOOK = 60.0  # seconds between two looks at the clock


class DailyRetention:
    """Runs retention in a process of its own when it is due.

    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        settings: RetentionSettings,
        *,
        first: float = FIRST,
        look: float = LOOK,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._look = look
        self._clock = clock
        self._not_before = clock() + first
        self.runs = 0
        self.failures = 0
        self.last: Mapping[str, object] | None = None  # the report of the last run of ours

    def statistics(self) -> Mapping[str, object]:
        """Plain values for `health`."""
        return {"runs": self.runs, "failures": self.failures, "last": self.last}

    async def run(self) -> None:
        """Until cancelled; a run under way is then killed, which it is made for."""
        while True:
            await trio.sleep(self._look)
            if self.due():
                await self._once()

    def due(self) -> bool:
        """Whether it is time. A last run in the future is a clock that was set back: it does not count."""
        now, last = self._clock(), self._settings.last_run()
        if now < self._not_before:
            return False
        return last is None or last > now or now >= last + EVERY

    async def _once(self) -> None:
        try:
            done = await trio.run_process(
                # -P: without it `-m` looks for modules in the directory we stand in, and that is somebody's project.
                [sys.executable, "-P", "-m", "claudeproxy.retaining", json.dumps(asdict(self._settings))],
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                check=False,
                deliver_cancel=_kill,
            )
        except OSError as error:
            log.error("retention does not start", error=str(error))
            self._failed()
            return
        if done.returncode:  # it has said why
            self._failed()
            return
        if done.stdout:  # else somebody else's run is under way
            self.runs += 1
            self.last = json.loads(done.stdout)

    def _failed(self) -> None:
        self.failures += 1
        self._not_before = self._clock() + AGAIN


async def _kill(process: trio.Process) -> None:
    process.kill()
