"""A few of the trials of `kills`; what is the same every time, the choice of victims, is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integrity.kills import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integrity.conftest import SayRow

SEED = 5
BOTH = 0  # the seed whose first victims are relay and recorder at once


async def test_a_service_killed_under_load_loses_nothing_that_reached_the_upstream(tmp_path: Path) -> None:
    tally = await run(1, BOTH, tmp_path)
    assert tally.victims == {"both": 1}
    assert tally.requests >= 4


@pytest.mark.heavy
async def test_ten_kills_at_random_moments_lose_nothing(tmp_path: Path, row: SayRow) -> None:
    tally = await run(10, SEED, tmp_path, lanes=2)
    assert tally.trials == 10
    assert tally.requests >= 40
    victims = ", ".join(f"{name} {count}" for name, count in sorted(tally.victims.items()))
    for mode in ("reverse", "connect"):
        row(
            "Process",
            f"SIGKILL at random moments under load (seed {SEED}: {victims})",
            mode,
            client="what was sent until then; of a recorder's death nothing",
            record="each request that reached the upstream once; each byte that a client got; open ones `interrupted`",
            proxy="goes on where it was when it is started again",
        )
