"""Each benchmark of a load runs to its end, against real proxies."""

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
@pytest.mark.parametrize("name", ["conversation", "growth", "openloop", "overhead", "stealing"])
def test_a_smoke_run_gives_figures(name: str, tmp_path: Path):
    command = [sys.executable, BENCHMARKS / f"{name}.py", "--quick", "--json", tmp_path / "found.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "found.json").read_text())["machine"]
