"""What every test starts from: nothing of the way in which pytest itself was started."""

from __future__ import annotations

import os

# Under `uv run pytest` our commands would suggest `uv run claudeproxy`, and tests read what they suggest.
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)
