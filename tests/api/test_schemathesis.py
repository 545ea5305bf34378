"""The API keeps to the document that it serves of itself: schemathesis, with every check that it has.

It makes up requests that the document allows and requests that it forbids, follows the links between operations, and
judges status, headers and body of each answer. The feeds are left out because they do not end; they have tests of their
own, against the same server. What the document cannot say is in `schemathesis_hooks`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.api.captures import prompt
from tests.api.conftest import AGENT, MAIN, Captures, app_on, of_every_kind, served

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = "1"
EXAMPLES = "15"  # for each operation and kind of test; two thousand requests in all


def command(url: str) -> Sequence[str]:
    return (
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED, "--continue-on-failure"),
        *("--exclude-path-regex", "/(live|ws)$"),
    )


@pytest.mark.heavy
async def test_every_operation_does_what_the_served_document_says(tmp_path: Path) -> None:
    filled = Captures(tmp_path / "captures.db")
    filled.record(of_every_kind())
    filled.explain(1, prompt("main"), MAIN)
    filled.explain(2, prompt("agent"), AGENT)
    filled.close()
    hooks = {"SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parents[2])}
    async with served(app_on(filled)) as api:
        with trio.fail_after(600):
            run = await trio.run_process(
                command(str(api.base_url).rstrip("/")),
                cwd=tmp_path,
                env={**os.environ, **hooks, "NO_COLOR": "1", "COLUMNS": "160"},
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
    report = run.stdout.decode(errors="replace")
    assert run.returncode == 0, report
    assert "generated" in report
