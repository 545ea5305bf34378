"""`tail`: beside a server and without one, in one process or another, and what it does when the server goes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from tests.cli.support import COMMAND, altered, cli, drain, exchanges, fill
from tests.cli.test_serve import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Tail:
    """A `tail` that runs; its lines as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._text = {process.stdout: b"", process.stderr: b""}

    def line(self, *, errors: bool = False, seconds: float = 20) -> str:
        stream = self.process.stderr if errors else self.process.stdout
        assert stream is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text[stream]:
            if not select.select([stream], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise AssertionError(f"silent after {self._text}")
            piece = os.read(stream.fileno(), 65536)
            assert piece, f"ended after {self._text}"
            self._text[stream] += piece
        line, _, self._text[stream] = self._text[stream].partition(b"\n")
        return line.decode()

    def interrupt(self) -> str:
        """Ctrl-C; what else it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 130
        assert self.process.stderr is not None
        return (self._text[self.process.stderr] + self.process.stderr.read()).decode()


@contextmanager
def tailing(home: Path, *arguments: str) -> Iterator[Tail]:
    command = [*COMMAND, "tail", "--home", str(home), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield Tail(process)
        finally:
            process.kill()


def queried(home: Path, *arguments: str) -> list[str]:
    """What `query` prints of the same, the oldest first."""
    return list(reversed(cli("query", "--home", home, "--limit", "100", *arguments).stdout.splitlines()))


def test_it_prints_the_last_ones_as_query_does_and_then_what_comes(home: Path) -> None:
    recorded = exchanges()
    fill(home, recorded[:4])
    with tailing(home, "-n", "2") as tail:
        assert [tail.line(), tail.line()] == queried(home)[-2:]
        fill(home, recorded[4:6])
        assert [tail.line(), tail.line()] == queried(home)[-2:]
        assert tail.interrupt() == ""


def test_the_filters_hold_and_json_lines_are_those_of_query(home: Path) -> None:
    recorded = exchanges()
    fill(home, recorded[:1])
    with tailing(home, "--jsonl", "--class", "subagent") as tail:
        fill(home, recorded[1:])
        expected = queried(home, "--jsonl", "--class", "subagent")
        assert expected
        assert [tail.line() for _ in expected] == expected


@pytest.mark.heavy
def test_what_is_not_explained_is_printed_all_the_same_after_a_while(home: Path) -> None:
    fill(home, exchanges()[:1])
    with tailing(home, "-n", "1", "--json") as tail:
        _document(tail)
        with CaptureStorage(home / "captures.db") as storage:
            (request_id,) = storage.record([altered(1)], {})
        assert _document(tail)["id"] == request_id


def _document(tail: Tail) -> dict[str, object]:
    text = tail.line()
    while text.count("{") != text.count("}"):
        text += tail.line()
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def test_running_ones_are_shown_when_asked_for(home: Path) -> None:
    fill(home, exchanges()[:1])
    with CaptureStorage(home / "captures.db") as storage:
        storage.record([altered(1, state=State.IN_FLIGHT, response=None)], {})
        with tailing(home, "-n", "1", "--state", "in_flight") as tail:
            assert "\trunning\t" in tail.line()
            (second,) = storage.record([altered(2, state=State.IN_FLIGHT, response=None)], {})
            assert f"{second[:8]}\trunning\t" in tail.line()


def test_it_waits_for_the_first_capture(home: Path) -> None:
    with tailing(home) as tail:
        while tail.line(errors=True) != "waiting for the first":
            pass
        fill(home, exchanges()[:1])
        assert tail.line() == queried(home)[0]


@pytest.mark.heavy
def test_beside_a_server_it_prints_the_same_and_goes_on_when_the_server_goes(home: Path) -> None:
    recorded = exchanges()
    ids = fill(home, recorded[:2])
    with serving(home) as (server, _), tailing(home, "-n", "1") as tail:
        assert ids[1][:8] in tail.line()
        ids += fill(home, recorded[2:4])
        assert [line.split("\t")[1] for line in (tail.line(), tail.line())] == [one[:8] for one in ids[2:4]]
        server.send_signal(signal.SIGINT)
        server.wait(30)
        assert re.fullmatch(r"the server cannot be followed \(.+\); following the database", tail.line(errors=True))
        ids += fill(home, recorded[4:6])
        assert [line.split("\t")[1] for line in (tail.line(), tail.line())] == [one[:8] for one in ids[4:6]]
        assert tail.interrupt() == ""


def test_ctrl_c_is_clean_beside_a_server_too(home: Path) -> None:
    fill(home, exchanges()[:1])
    with serving(home), tailing(home, "-n", "1") as tail:
        tail.line()
        fill(home, exchanges()[1:2])
        tail.line()
        assert tail.interrupt() == ""


def test_a_reader_that_goes_away_ends_it_quietly(home: Path) -> None:
    fill(home, exchanges()[:1])
    with tailing(home, "-n", "1") as tail:
        tail.line()
        assert tail.process.stdout is not None
        tail.process.stdout.close()
        fill(home, exchanges()[1:3])
        assert tail.process.wait(20) == 141
        assert tail.process.stderr is not None
        assert tail.process.stderr.read() == b""


@pytest.mark.parametrize("columns", [80, 50])
def test_on_a_terminal_lines_have_titles_and_fit(home: Path, columns: int) -> None:
    ids = [one[:8] for one in fill(home, exchanges()[:3])]
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(columns)}
    with subprocess.Popen(
        [*COMMAND, "tail", "--home", str(home)], env=environment, stdin=follower, stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        titles, *lines = drain(leader, until=ids[-1]).splitlines()
        process.send_signal(signal.SIGINT)
        lines += drain(leader).splitlines()
        assert process.wait(20) == 130
    os.close(leader)
    assert titles.split()[:3] == ["time", "id", "status"]
    assert "largest" in titles
    shown = [line for line in lines if any(one in line for one in ids)]
    assert len(shown) == 3
    assert all(len(line) <= columns for line in (titles, *shown))
