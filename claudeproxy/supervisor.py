"""Keeps the recorder running beside the relay: as a child process (``serve``) or as a thread (the library).

Apart from the service so that how the recorder is hosted is decided in one place. A recorder that dies is started
again, with growing pauses; the journal keeps what it has not read. Nothing here is waited for by a relay.

The one pipe between the two is the child's standard input. The relay writes a byte to it when an exchange ends; its end
means "record what the journal holds, then leave", and comes by itself when the relay's process dies. The supervisor
keeps the reading end open, so that a byte written while no recorder lives is neither lost nor an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.recordingsettings import RecordingSettings

log = get_logger("claudeproxy.supervisor")

FIRST_PAUSE = 0.1  # seconds before a dead recorder is started again; doubles up to
LONGEST_PAUSE = 10.0  # which is also what a database that cannot be opened is asked again after

# After the last connection ended. The recorder reads some 100 MB/s, so this is a full journal.
FINISH_SECONDS = 10.0


class RecorderHost(ABC):
    """Where the recorder lives. `run` until `finish` was called and the journal is read."""

    def __init__(self, settings: RecordingSettings) -> None:
        self._settings = settings
        self._finishing = trio.Event()
        self.restarts = 0
        self.deaths = 0  # in a row, without a word from the recorder between them: it cannot even begin
        self.status: Mapping[str, object] = {}  # the recorder's own account of itself, for `health`

    @property
    @abstractmethod
    def wake_fd(self) -> int | None:
        """The writing end of the pipe, for processes that inherit it; None after `finish`. Its end is that of all."""

    @abstractmethod
    def wake(self) -> None:
        """Tell the recorder that an exchange ended: never blocks, never raises."""

    @abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Host the recorder. Started at once: recording begins when it can. A cancellation is the caller's `finish`."""

    @property
    def healthy(self) -> bool:
        """Whether what it was given last is stored, or on its way. Never waits."""
        lacking = ("failures", "quarantined", "discarded")
        return not self.deaths and not any(self.status.get(name) for name in lacking)

    def finish(self) -> None:
        """Let the recorder read what the journal holds, and end."""
        self._finishing.set()

    def _report(self, status: Mapping[str, object]) -> None:
        self.status = status
        self.deaths = 0

    def _died(self) -> None:
        self.restarts += 1
        self.deaths += 1


class RecorderThread(RecorderHost):
    """The recorder in a worker thread of this process: simple, and shares the interpreter with the relay."""

    def __init__(self, settings: RecordingSettings) -> None:
        super().__init__(settings)
        self._read_fd, self._write_fd = _pipe()

    @property
    def wake_fd(self) -> int | None:
        """The writing end of the pipe; None after `finish`."""
        return None if self._finishing.is_set() else self._write_fd

    def wake(self) -> None:
        """Tell the recorder that an exchange ended: never blocks, never raises."""
        with suppress(OSError):
            os.write(self._write_fd, b"!")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Host the recorder, restarting it after a pause when it fails."""
        from claudeproxy.recording import run_recording

        task_status.started()
        pause = FIRST_PAUSE
        try:
            with trio.CancelScope(shield=True):
                while True:
                    try:
                        await trio.to_thread.run_sync(
                            run_recording, self._settings, self._read_fd, self._finishing.is_set, self._report
                        )
                    except Exception as error:  # noqa: BLE001 (whatever it was: the relay goes on, the journal keeps)
                        log.error("recorder failed", error=str(error), error_type=type(error).__name__)
                        self._died()
                    if self._finishing.is_set():
                        return
                    with trio.move_on_after(pause):
                        await self._finishing.wait()
                    pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            os.close(self._read_fd)
            os.close(self._write_fd)

    def finish(self) -> None:
        """Let the recorder read what the journal holds, and end."""
        super().finish()
        self.wake()


class RecorderProcess(RecorderHost):
    """The recorder in a process of its own: what it computes never delays a client's byte."""

    def __init__(self, settings: RecordingSettings) -> None:
        super().__init__(settings)
        self._read_fd, write_fd = _pipe()
        self._write_fd: int | None = write_fd
        self.pid: int | None = None
        self._late = False

    @property
    def wake_fd(self) -> int | None:
        """The writing end of the pipe; None after `finish`."""
        return self._write_fd

    def wake(self) -> None:
        """Tell the recorder that an exchange ended: never blocks, never raises."""
        if self._write_fd is not None:
            with suppress(OSError):
                os.write(self._write_fd, b"!")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Host the recorder, restarting it after a pause when it dies."""
        task_status.started()
        pause = FIRST_PAUSE
        try:
            with trio.CancelScope(shield=True):
                while True:
                    began = trio.current_time()
                    last = self._finishing.is_set()
                    whole = await self._one_life()
                    # One that died when the end was near gets another life: what it left is recorded now.
                    if last or (whole and self._finishing.is_set()):
                        return
                    self._died()
                    if trio.current_time() - began > LONGEST_PAUSE:
                        pause = FIRST_PAUSE
                    with trio.move_on_after(pause):
                        await self._finishing.wait()
                    pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            os.close(self._read_fd)
            self.finish()

    async def _one_life(self) -> bool:
        """Run one recorder to its end; whether there is no use in another one after it."""
        try:
            process = await trio.lowlevel.open_process(
                # -P: without it `-m` looks for modules in the directory we stand in, and that is somebody's project.
                [sys.executable, "-P", "-m", "claudeproxy.recording", self._settings.to_json()],
                stdin=self._read_fd,
                stdout=subprocess.PIPE,
            )
        except OSError as error:
            log.error("recorder does not start", error=str(error))
            return False
        self.pid = process.pid
        log.debug("recorder started", pid=process.pid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_when_late, process)
            await self._read_status(process)
            code = await process.wait()
            nursery.cancel_scope.cancel()
        self.pid = None
        if code != 0 or not self._finishing.is_set():
            log.error("recorder ended", exit_code=code, restarts=self.restarts)
        return code == 0 or self._late

    async def _read_status(self, process: trio.Process) -> None:
        """Take one JSON object a line until the recorder closes its standard output."""
        assert process.stdout is not None
        buffer = b""
        async for data in process.stdout:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                with suppress(ValueError):
                    self._report(json.loads(line))

    async def _kill_when_late(self, process: trio.Process) -> None:
        await self._finishing.wait()
        await trio.sleep(FINISH_SECONDS)
        self._late = True
        log.error("recorder does not end; what the journal holds is recorded at the next start", pid=process.pid)
        process.kill()

    def finish(self) -> None:
        """Let the recorder read what the journal holds, and end."""
        super().finish()
        if self._write_fd is not None:
            os.close(self._write_fd)
            self._write_fd = None


def _pipe() -> tuple[int, int]:
    """A pipe whose writing end never blocks: a full pipe means that the recorder has been told."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    return read_fd, write_fd
