"""The start is measured of everything that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.conftest import BENCHMARKS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.heavy
def test_a_round_gives_a_figure_for_each_command_and_port(tmp_path: Path):
    command = [sys.executable, BENCHMARKS / "startup.py", "--rounds", "1", "--json", tmp_path / "found.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    starts = {f"{start}: {port} port" for start in ("serve", "serve, first start") for port in ("proxy", "API")}
    assert rows.keys() == {"python -c pass", "claudeproxy --help", "claudeproxy query", *starts}
    assert rows["python -c pass"]["above"] == 0 < rows["claudeproxy --help"]["above"]
    assert rows["serve: proxy port"]["seconds"] <= rows["serve: API port"]["seconds"]
