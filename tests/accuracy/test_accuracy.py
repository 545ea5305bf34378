"""Every planted text, in every request of the real client, is given to whom it came from: layouts C and A, threads.

`python -m tests.accuracy` does the same with every version, in both entry modes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.accuracy.check import check
from tests.accuracy.plants import BY_KEY
from tests.accuracy.session import MATRIX, THREADS, Setting, drive, owners
from tests.support.claude_code import needs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.heavy, needs("npm", "node", "git")]

MAYBE = {"broken"}  # the notice about a failing server: with old models never, else when it failed in time


@pytest.mark.parametrize("setting", [*MATRIX[:2], THREADS], ids=str)
async def test_every_planted_text_is_given_to_its_source(setting: Setting, tmp_path: Path) -> None:
    world = await drive(setting, tmp_path.resolve())
    verdict = check(tmp_path.resolve() / "captures", owners(world))
    assert [str(miss) for miss in verdict.misses] == []
    assert set(BY_KEY) - verdict.keys <= MAYBE
    assert verdict.right.total() + verdict.undecidable.total() == verdict.seen.total()
    assert verdict.undecidable.total() == 0
    assert verdict.unclassified == 0
