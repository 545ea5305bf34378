from __future__ import annotations

import os
import sys

import pytest

from claudeproxy.capture import wake
from claudeproxy.capture.wake import WakePipe


def test_a_notification_ends_the_wait_and_is_taken() -> None:
    pipe = WakePipe()
    pipe.notify()
    pipe.notify()
    assert pipe.wait(5)
    assert not pipe.wait(0), "both bytes are taken at once"
    pipe.close()


def test_a_full_pipe_neither_blocks_nor_raises() -> None:
    pipe = WakePipe()
    for _ in range(70_000):
        pipe.notify()
    assert pipe.wait(0)
    pipe.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_descriptor_beyond_those_of_select_can_be_waited_for() -> None:
    import fcntl
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 1100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    pipe = WakePipe()
    high = fcntl.fcntl(pipe.read_end, fcntl.F_DUPFD, 1100)
    pipe.notify()
    assert wake.wait(high, 5)
    assert not wake.wait(high, 0)
    os.close(high)
    pipe.close()


def test_without_a_pipe_time_passes() -> None:
    assert not wake.wait(None, 0)


def test_a_closed_pipe_says_that_nobody_will_write_any_more() -> None:
    pipe = WakePipe()
    pipe.notify()
    os.close(pipe.write_end)
    assert pipe.wait(0), "what was written before comes first"
    with pytest.raises(EOFError):
        pipe.wait(0)
    os.close(pipe.read_end)
    pipe.notify()
