"""The processes that `kills` kills, the clients that ask meanwhile, and what must be in the record afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import httpx
import trio

from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.support.service import HEADERS, PATIENCE, kill_group, prompt

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.store.values import CapturedRequest
    from tests.support.service import Running

# What a request's sources add up to, beside what is said of the whole; its classes of price, beside its bill.
_UNEQUAL = """
SELECT q.id FROM requests q WHERE q.total_tokens IS NOT NULL AND q.total_tokens <>
  (SELECT ifnull(sum(tokens), 0) FROM request_sources s WHERE s.request = q.n AND s.output = 0)
UNION ALL
SELECT q.id FROM requests q JOIN accounts a ON a.request = q.n JOIN responses p ON p.request = q.n
WHERE a.uncached IS NOT NULL AND a.read + a.write_1h + a.write_5m + a.uncached <>
  p.input_tokens + p.cache_creation_input_tokens + p.cache_read_input_tokens
"""


class Load:
    """Clients that ask one thing after the other, and remember every byte of every answer."""

    CLIENTS = 4
    _next = 0

    def __init__(self) -> None:
        Load._next += 1
        self.life = Load._next
        self.answers: dict[bytes, bytearray] = {}  # request to what came of its answer
        self.whole: set[bytes] = set()
        self.open = self.broken = 0
        self.ending = False
        self._begun = trio.Event()

    async def wait_begun(self) -> None:
        """Until every client had an answer's first bytes."""
        with trio.fail_after(PATIENCE):
            await self._begun.wait()

    async def ask(self, running: Running, number: int) -> None:
        """Be one client: through CONNECT or to the base URL, streams and documents, every fourth a slow one."""
        part = 0
        try:
            async with running.client("connect" if number % 2 else "reverse") as client:
                while not self.ending:
                    words = f"life {self.life} client {number} part {part}"
                    slow = (part + number) % 4 == 3
                    await self._one(client, prompt(f"slow {words}" if slow else words, stream=slow or bool(part % 2)))
                    part += 1
        except httpx.TransportError:
            self.broken += 1

    async def _one(self, client: httpx.AsyncClient, body: bytes) -> None:
        received = self.answers[body] = bytearray()
        self.open += 1
        try:
            async with client.stream("POST", "/v1/messages?beta=true", content=body, headers=HEADERS) as response:
                async for piece in response.aiter_raw():
                    received += piece
                    if len(self.answers) >= self.CLIENTS:
                        self._begun.set()
            self.whole.add(body)
        finally:
            self.open -= 1

    # --- afterwards -----------------------------------------------------------------------------------------

    def check(self, home: Path, reached: set[bytes], victim: str, told: str) -> None:
        """Compare the record with what clients and upstream saw."""
        with CaptureStorage(home / "captures.db", busy_timeout=PATIENCE) as storage:
            report = storage.verify()
            assert report.ok, (told, report.problems)
            rows = storage.query_requests(RequestFilters(limit=100_000)).rows
            ours = f'"life {self.life} '.encode(), f'"slow life {self.life} '.encode()
            mine = [(row, body) for row in rows if any(mark in (body := row.body) for mark in ours)]
            assert len({body for _, body in mine}) == len(mine), f"{told}: a request is recorded twice"
            found = {body: row for row, body in mine}
            if victim != "retention":
                self._check_bytes(storage, found, reached, told)
            self._check_states(found, reached, victim, told)
            with storage.reading() as connection:
                assert connection.execute(_UNEQUAL).fetchall() == [], told
            assert SourceMetrics(storage).rebuild().corrected == 0, told
            assert storage.unfinished() == {}, told

    def _check_bytes(
        self, storage: CaptureStorage, found: dict[bytes, CapturedRequest], reached: set[bytes], told: str
    ) -> None:
        lost = reached - found.keys()
        assert not lost, f"{told}: {len(lost)} requests that reached the upstream are not recorded"
        for body, received in self.answers.items():
            if received:
                recorded = storage.response_body(found[body].id)
                assert recorded.startswith(received), (
                    f"{told}: {len(received)} bytes received, {len(recorded)} recorded"
                )
                assert recorded == received or body not in self.whole, f"{told}: recorded more than there was"

    def _check_states(self, found: dict[bytes, CapturedRequest], reached: set[bytes], victim: str, told: str) -> None:
        begun_only = [row for body, row in found.items() if body not in reached]
        states = {row.state for row in found.values()}
        assert states <= {State.COMPLETE, State.INTERRUPTED}, (told, states)
        open_ones = [row for body, row in found.items() if body not in self.whole]
        assert {row.state for row in open_ones} <= {State.INTERRUPTED}, told
        if victim in {"proxy", "both"}:
            assert len(begun_only) <= self.CLIENTS, told
        else:
            assert states <= {State.COMPLETE}, (told, states)
            assert not begun_only, told


async def kill(running: Running, victim: str) -> None:
    """SIGKILL to the proxy, to its recorder, or to both at once."""
    assert running.process is not None
    if victim == "both":
        kill_group(running.process.pid)
    elif victim == "proxy":
        running.process.kill()
    else:
        os.kill(await recorder_pid(running), signal.SIGKILL)


async def recorder_pid(running: Running) -> int:
    """The recorder of a service; waits until there is one."""
    assert running.process is not None
    with trio.fail_after(PATIENCE):
        while True:
            for line in await trio.to_thread.run_sync(_children, running.process.pid):
                if "claudeproxy.recording" in line and "<defunct>" not in line:
                    return int(line.split()[0])
            await trio.sleep(0.02)


def _children(pid: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


async def journals_read(home: Path, explained: int | None = None) -> None:
    """Until only the living relay's journal is left, and everything recorded is explained (or so many are)."""
    with trio.fail_after(PATIENCE):
        while len([entry for entry in (home / "journal").iterdir() if entry.is_dir()]) > 1:  # noqa: ASYNC110
            await trio.sleep(0.05)
        while not await trio.to_thread.run_sync(_all_explained, home, explained):  # noqa: ASYNC110
            await trio.sleep(0.05)


def _all_explained(home: Path, count: int | None) -> bool:
    with CaptureStorage(home / "captures.db", read_only=True) as storage, storage.reading() as connection:
        if count is not None:
            row = connection.execute(
                "SELECT count(*) FROM requests WHERE rules > 0 AND state <> 'in_flight'"
            ).fetchone()
            return int(row[0]) >= count
        statement = "SELECT 1 FROM requests WHERE state = 'in_flight' OR rules IS NULL LIMIT 1"
        return connection.execute(statement).fetchone() is None
