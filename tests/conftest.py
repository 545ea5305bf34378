"""What every test starts from: nothing of the way in which pytest itself was started."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from claudeproxy.logs import configure_logging

# Under `uv run pytest` our commands would suggest `uv run claudeproxy`, and tests read what they suggest.
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def logging_as_a_library_has_it() -> None:
    """Whatever a command that ran before has set up; else the first line of a process sets it up, amidst a test."""
    configure_logging(level="warning")
