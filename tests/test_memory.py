"""What a process holds after it has let go: in processes of their own, since both settings are of a whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Bodies of 8 MB, each with a small block that stays behind it: what glibc's heap cannot shrink below.
BODIES = """
import sys
from pathlib import Path
from claudeproxy.memory import return_large_blocks
if sys.argv[1] == "yes":
    assert return_large_blocks()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
first = bytearray(8 << 20)
del first  # from here on glibc takes blocks of this size from its heap
before, kept = resident(), []
bodies = []
for number in range(8):
    bodies.append(bytearray(b"x") * (8 << 20))
    kept.append(bytearray(100_000))
del bodies
print((resident() - before) >> 20)
"""

CYCLES = """
import gc, sys
from claudeproxy.memory import forget_loaded
loaded = [[] for _ in range(400_000)]
gc.collect()
if sys.argv[1] == "yes":
    forget_loaded()
class Connection:
    living = 0
    def __init__(self):
        self.me = self
        Connection.living += 1
    def __del__(self):
        Connection.living -= 1
old = [Connection() for _ in range(3_000)]
gc.collect(1)  # as old as anything else now
del old
for number in range(300):
    kept = [[] for _ in range(1_000)]
print(Connection.living)
"""


def output(program: str, with_it: bool) -> list[int]:
    command = [sys.executable, "-c", program, "yes" if with_it else "no"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's way with large blocks")
def test_what_large_bodies_took_goes_back_to_the_system() -> None:
    assert output(BODIES, with_it=True)[0] < 8


def test_what_ended_in_a_cycle_is_found_though_much_is_loaded() -> None:
    """3,000 connections that had grown old: without it they stay until 100,000 more objects have."""
    assert output(CYCLES, with_it=True) == [0]
    assert output(CYCLES, with_it=False) == [3_000]


def test_structlog_does_without_rich_where_nothing_is_drawn() -> None:
    code = (
        "import sys; from claudeproxy.memory import spare_rich; spare_rich();"
        "from claudeproxy.logs import configure_logging, get_logger; configure_logging('console', 'info');"
        "get_logger('x').info('seen');"
        "sys.exit(any(name.startswith(('rich.', 'pygments')) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "seen" in done.stderr
