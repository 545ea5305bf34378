"""Every target on its seeds and on changes to them, the same ones every time; and the command that runs them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.__main__ import MISSING
from tests.fuzz.registry import TARGETS
from tests.fuzz.short import inputs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_asks_holds_for_its_seeds_and_for_changed_ones(name: str) -> None:
    for data in inputs(TARGETS[name]):
        TARGETS[name].check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_the_short_run_is_the_same_every_time(name: str) -> None:
    assert list(inputs(TARGETS[name], 20)) == list(inputs(TARGETS[name], 20))
    assert all(len(data) <= TARGETS[name].max_bytes for data in inputs(TARGETS[name], 20))


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def test_one_input_can_be_tried_again(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.write_bytes(b"0\r\n\r\n")
    done = run("chunked", "--input", str(found), cwd=pytestconfig.rootpath)
    assert (done.returncode, done.stdout) == (0, "chunked: 1 inputs, nothing found\n")


def test_a_target_that_there_is_not_is_named_with_those_that_there_are(pytestconfig: pytest.Config) -> None:
    done = run("chunkd", cwd=pytestconfig.rootpath)
    assert done.returncode == 2
    assert "no target 'chunkd': there are request-head, " in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is installed")
def test_without_atheris_one_line_says_what_to_do(pytestconfig: pytest.Config) -> None:
    done = run("chunked", cwd=pytestconfig.rootpath)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", MISSING + "\n")
