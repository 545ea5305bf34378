from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from tests.operations.expected import TOLERANCE, load

EXPECTED = load(platform.python_implementation(), sys.version_info)


@pytest.mark.skipif(not EXPECTED, reason="no counts were written down for this version of Python")
@pytest.mark.heavy
def test_an_exchange_takes_as_many_operations_as_were_written_down():
    """More: something became slower. Fewer: the new counts want to be kept, by `python -m tests.operations --write`.

    In a process of its own: coverage counts lines, too, and only one of the two can.
    """
    ran = subprocess.run(
        [sys.executable, "-m", "tests.operations", "--json"], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(ran.stdout)
    assert found.keys() == EXPECTED.keys()
    assert found == {name: pytest.approx(count, rel=TOLERANCE) for name, count in EXPECTED.items()}
