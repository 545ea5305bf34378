"""The limit of open descriptors: in processes of their own, because lowering it cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from claudeproxy_cli.descriptors import needed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

PROGRAM = """
import resource, sys
from claudeproxy_cli.descriptors import obtainable, raise_limit
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], obtainable())
"""


def limits(soft: int, hard: int) -> tuple[int, int]:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    raised, most = map(int, output.split())
    return raised, most


def test_the_limit_is_raised_as_far_as_the_system_lets_us() -> None:
    assert limits(100, 300) == (300, 300)
    assert limits(300, 300) == (300, 300)


def test_a_connection_needs_one_on_each_leg() -> None:
    assert needed(2000) - needed(1000) == 2000
