"""Memory is measured over conversations that differ, of both processes."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from memory_traffic import LARGEST, Words, conversation, read, request

from tests.benchmarks.conftest import BENCHMARKS

if TYPE_CHECKING:
    from pathlib import Path


class Pieces:
    """A stream that gives what it was given."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def receive_some(self, _most: int) -> bytes:
        return next(self._pieces, b"")


def test_turns_repeat_their_history_and_conversations_share_nothing():
    words = Words(1)
    longest = max((list(conversation(number, words)) for number in range(20)), key=len)
    for body, following in zip(longest, islice(longest, 1, None), strict=False):
        assert following.startswith(body[:-2])
    assert len(longest[-1]) < LARGEST + 20_000
    users = [{str(message) for message in json.loads(next(conversation(n, words)))["messages"]} for n in (98, 99)]
    assert not users[0] & users[1]


async def test_a_message_is_read_as_far_as_its_length_says_however_it_comes():
    whole = request(b"body of some length", "127.0.0.1")
    assert await read(Pieces(whole[:40], whole[40:-3], whole[-3:])) == b"body of some length"  # type: ignore[arg-type]
    assert await read(Pieces(whole[:-3])) is None  # type: ignore[arg-type]


@pytest.mark.heavy
def test_a_short_run_gives_figures_of_both_processes(tmp_path: Path):
    command = [sys.executable, BENCHMARKS / "memory.py", "--exchanges", "60", "--figure", tmp_path / "found"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["recorded"] == found["exchanges"] >= 60
    assert min(found[name]["resident_median"] for name in ("proxy", "recorder")) > 20
    assert (tmp_path / "found.svg").read_text().startswith("<svg")
