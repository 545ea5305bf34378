"""`claudeproxy run` and a proxy that dies under it: real processes, killed with SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy.testing import MockUpstream, Pace, Replies, says, text
from claudeproxy.testing.pacing import Gate
from tests.cli.support import COMMAND
from tests.cli.test_serve import serving
from tests.support.service import wait_captured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integrity.conftest import SayRow

# Asks once for each line that it reads: the words of the question. Answers with what came of it, in one line. What
# breaks is tried again, as the SDKs do, unless the question says otherwise.
CLIENT = """
import http.client, json, os, sys, urllib.error, urllib.request
base = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
def ask(words, stream):
    body = {"model": "claude-opus-5-5", "max_tokens": 9, "stream": stream,
            "messages": [{"role": "user", "content": words}]}
    request = urllib.request.Request(base + "/v1/messages", json.dumps(body).encode(),
        {"content-type": "application/json", "x-api-key": "sk-ant-api03-dummy", "anthropic-version": "2023-06-01"})
    return urllib.request.urlopen(request)
for line in sys.stdin:
    words, tries, failed = line.strip(), 0, None
    while True:
        tries += 1
        try:
            with ask(words, words == "wait") as answer:
                if words == "wait":
                    print("begun", answer.readline().decode().strip(), flush=True)
                    answer.read()
                answer.read()
                print("answered", "at the first try" if tries == 1 else "by a retry", flush=True)
            break
        except urllib.error.HTTPError as error:
            print("status", error.code, flush=True)
            break
        except (OSError, http.client.HTTPException) as error:
            if words == "wait":
                print("broken off", flush=True)
                break
            if tries == 3:
                print("gave up", flush=True)
                break
sys.exit(7)
"""


class Command:
    """A `claudeproxy run` whose command is CLIENT."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def tell(self, words: str) -> None:
        """Have it ask."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(words.encode() + b"\n")

    async def hear(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            assert data, self._buffer
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    async def ask(self, words: str) -> str:
        """Have it ask, and say what came of it."""
        await self.tell(words)
        return await self.hear()

    async def end(self) -> tuple[int, list[str]]:
        """Its exit code and what `run` said."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        await self.process.stdin.aclose()
        said = b""
        async for data in self.process.stderr:
            said += data
        return await self.process.wait(), said.decode().splitlines()

    def proxies(self) -> list[int]:
        """The processes that serve for it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"--attached" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@asynccontextmanager
async def command(home: Path, *flags: str, **env: str) -> AsyncIterator[Command]:
    process = await trio.lowlevel.open_process(
        [*COMMAND, "run", "--home", str(home), *flags, "--", sys.executable, "-c", CLIENT],
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with trio.fail_after(60):
            yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()


@pytest.fixture
async def api() -> AsyncIterator[MockUpstream]:
    waiting = text("Never heard to its end", pace=Pace(gate=Gate()))
    assert waiting.pace.gate is not None
    waiting.pace.gate.release(2)
    mock = MockUpstream(Replies().on(says("wait"), waiting).on(lambda _: True, text("Hello there")))
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        yield mock
        nursery.cancel_scope.cancel()


def states(home: Path) -> dict[str, int]:
    """How many exchanges are recorded in which state."""
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        rows = storage.query_requests(RequestFilters(limit=100)).rows
        assert storage.verify().ok
    return dict(Counter(str(row.state) for row in rows))


def told(lines: list[str], words: str) -> bool:
    """Whether exactly one line says so."""
    return sum(words in line for line in lines) == 1


@pytest.mark.parametrize(
    ("flags", "mode"), [((), "connect"), pytest.param(("--reverse",), "reverse", marks=pytest.mark.heavy)]
)
async def test_a_proxy_that_is_killed_is_followed_by_another_on_the_same_port(
    api: MockUpstream, home: Path, row: SayRow, flags: tuple[str, ...], mode: str
) -> None:
    """What was under way breaks; what comes next is answered, and both processes' captures are in the receipt."""
    async with command(home, *flags, CLAUDEPROXY_UPSTREAM=api.url) as run:
        assert await run.ask("hello") == "answered at the first try"
        assert (await run.ask("wait")).startswith("begun event: message_start")
        (proxy,) = run.proxies()
        os.kill(proxy, signal.SIGKILL)
        under_way = await run.hear()
        after = await run.ask("hello again")
        code, lines = await run.end()
    assert code == 7
    assert told(lines, "the proxy ended (SIGKILL) and was started again on the same port"), lines
    assert told(lines, "claudeproxy: 3 requests (1 failed), "), lines
    found = states(home)
    assert found == {"complete": 2, "interrupted": 1}
    record = f"{found['complete']} complete, {found['interrupted']} interrupted"
    client = f"the stream under way is {under_way}, the next request {after}"
    row("Supervision", "proxy killed (SIGKILL) under `run`", mode, client=client, record=record, proxy="same port")


@pytest.mark.heavy
async def test_a_proxy_that_cannot_be_started_again_is_said_and_refuses_at_once(
    api: MockUpstream, home: Path, row: SayRow
) -> None:
    """The command goes on: its requests are refused and not left to wait, its exit code passes through."""
    async with command(home, CLAUDEPROXY_UPSTREAM=api.url) as run:
        assert await run.ask("hello") == "answered at the first try"
        await wait_captured(home, 1)  # its end is written after the client has the last byte
        (home / "ca.key").write_text("no key")
        os.kill(run.proxies()[0], signal.SIGKILL)
        refused = await run.ask("hello again")
        code, lines = await run.end()
    assert code == 7
    assert told(lines, "cannot be started again now: "), lines
    found = states(home)
    assert found == {"complete": 1}
    assert refused in {"gave up", "status 503"}  # urllib says of a CONNECT that was refused that it broke
    row(
        "Supervision",
        "proxy killed, and cannot be started again",
        "connect",
        client="503 at once for each request; the command goes on",
        record=f"{found['complete']} complete, from before",
        proxy="tries again with growing pauses, ten times",
    )


@pytest.mark.heavy
async def test_a_server_that_run_only_found_is_followed_by_one_of_its_own(
    api: MockUpstream, home: Path, row: SayRow
) -> None:
    home.mkdir()
    (home / "config.yaml").write_text(json.dumps({"upstream": api.url}))
    with serving(home) as (process, server):
        async with command(home) as run:
            assert await run.ask("hello") == "answered at the first try"
            assert run.proxies() == []
            await wait_captured(home, 1)  # its end is written after the client has the last byte
            process.kill()
            await trio.to_thread.run_sync(process.wait)
            after = ""
            while not after.startswith("answered"):  # until then nobody listens there
                after = await run.ask("hello again")
            (follower,) = run.proxies()
            assert follower != server.pid
            code, lines = await run.end()
    assert code == 7
    assert told(lines, "the proxy ended (it no longer answered) and was started again on the same port"), lines
    found = states(home)
    assert found == {"complete": 2}
    row(
        "Supervision",
        "`serve` killed (SIGKILL) that `run` had found",
        "connect",
        client="refused for as long as it takes to notice, then answered",
        record=f"{found['complete']} complete",
        proxy="`run` starts its own on that port",
    )


@pytest.mark.heavy
async def test_a_server_with_options_of_its_own_is_not_replaced_by_one_without(
    api: MockUpstream, home: Path, row: SayRow
) -> None:
    """A key must not go another way than the person who started the server wanted."""
    with serving(home, "--upstream", api.url) as (process, _):
        async with command(home) as run:
            assert await run.ask("hello") == "answered at the first try"
            await wait_captured(home, 1)  # its end is written after the client has the last byte
            process.kill()
            await trio.to_thread.run_sync(process.wait)
            while (after := await run.ask("hello again")) != "gave up":
                pass
            code, _ = await run.end()
    assert (code, after) == (7, "gave up")
    found = states(home)
    assert found == {"complete": 1}
    row(
        "Supervision",
        "`serve` with flags of its own killed, that `run` had found",
        "connect",
        client="refused until it is started again",
        record=f"{found['complete']} complete, from before",
        proxy="is not replaced: its options are not known",
    )


@pytest.mark.parametrize("flags", [(), ("--strict",)])
async def test_a_proxy_that_cannot_start_at_all(home: Path, row: SayRow, flags: tuple[str, ...]) -> None:
    environment = {**os.environ, "CLAUDEPROXY_UPSTREAM_CA": "/nowhere.pem"}
    with trio.fail_after(60):
        result = await trio.run_process(
            [*COMMAND, "run", "--home", str(home), *flags, "--", "sh", "-c", "echo ran; exit 4"],
            env=environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1
    assert not (home / "captures.db").exists()
    ran = "runs without a proxy" if result.stdout == b"ran\n" else "does not run"
    assert ran == ("does not run" if flags else "runs without a proxy")
    row(
        "Supervision",
        f"proxy cannot start at all{', --strict' if flags else ''}",
        "connect",
        client=f"the command {ran}, exit code {result.returncode}",
        record="none",
        proxy="says why, in one line",
    )
