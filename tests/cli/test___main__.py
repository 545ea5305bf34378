from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.cli.support import cli

if TYPE_CHECKING:
    from pathlib import Path

# Whether the collector runs, and whether it has things not to look at: before the command, in it, after it.
TOLD = """
import gc, sys
from claudeproxy_cli.__main__ import start
told = []
tell = lambda: told.append((gc.isenabled(), gc.get_freeze_count() > 0))
tell()
class Out:
    encoding = "utf-8"
    isatty = lambda self: False
    flush = lambda self: None
    write = lambda self, text: tell()
sys.stdout = Out()
code = start()
tell()
sys.exit(repr((code, told[0], *sorted(set(told[1:-1])), told[-1])))
"""


def told(*arguments: object) -> str:
    line = [sys.executable, "-c", TOLD, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False).stderr.splitlines()[-1]


def test_the_collector_rests_while_a_command_is_loaded_and_runs_when_it_does(captured: Path) -> None:
    before, running, after = (True, False), (True, True), (True, True)
    assert told("query", "--home", captured) == repr((0, before, running, after))


def test_help_and_mistakes_never_need_the_collector() -> None:
    assert told("--help") == repr((0, (True, False), (False, False), (False, True)))
    assert told("qury") == repr((2, (True, False), (False, True)))


def test_it_can_be_run_as_a_module() -> None:
    assert cli("query", "--limit", "0").returncode == 2
