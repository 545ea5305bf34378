"""What every test starts from: nothing of the way in which pytest itself was started."""

from __future__ import annotations

import os

from hypothesis import settings

# Under `uv run pytest` our commands would suggest `uv run claudeproxy`, and tests read what they suggest.
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
