from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from claudeproxy.capture import locks
from claudeproxy.capture.journal_format import LOCK_NAME
from claudeproxy.capture.locks import FileLock, owner_alive

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HOLD = """
import sys
from pathlib import Path
from claudeproxy.capture.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.acquire()
print(flush=True)
sys.stdin.read()
"""


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert first.acquire(), "taking it twice is no harm"
    assert first.held
    assert not second.acquire()
    first.release()
    first.release()
    assert second.acquire()


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    owner = tmp_path / "owner"
    owner.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(owner / LOCK_NAME)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert owner_alive(tmp_path, "owner")
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not owner_alive(tmp_path, "owner")


def test_an_owner_without_a_journal_is_dead(tmp_path: Path) -> None:
    assert not owner_alive(tmp_path, "nobody")


def test_an_owner_that_we_may_not_judge_is_not_declared_dead(tmp_path: Path) -> None:
    (tmp_path / "owner" / LOCK_NAME).mkdir(parents=True)
    assert owner_alive(tmp_path, "owner")


def test_a_lock_on_a_file_that_was_replaced_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaner may unlink the file between our open and our lock."""
    path = tmp_path / "lock"
    lock = FileLock(path)
    real = locks._try_lock

    def slow(descriptor: int) -> bool:
        path.unlink()
        return real(descriptor)

    monkeypatch.setattr(locks, "_try_lock", slow)
    assert not lock.acquire()
    assert not lock.held


def test_release_can_remove_the_file(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    lock.release(unlink=True)
    assert not (tmp_path / "lock").exists()
