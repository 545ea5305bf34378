from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.deathwatch import BELIEVED, DEATHS_NAME, EXPLAINING, STORING, Deathwatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LIVES: list[Deathwatch] = []


def life(root: Path) -> Deathwatch:
    """The next one, whether the one before it died or not: the system closes what the dead had open."""
    _bury()
    watch = Deathwatch(root)
    watch.begin()
    _LIVES.append(watch)
    return watch


@pytest.fixture(autouse=True)
def burial() -> Iterator[None]:
    yield
    _bury()


def _bury() -> None:
    while _LIVES:
        dead = _LIVES.pop()
        if dead._descriptor is not None:
            os.close(dead._descriptor)
            dead._descriptor = None


def test_whoever_comes_next_knows_what_was_at_hand(tmp_path: Path) -> None:
    for count in range(BELIEVED):
        watch = life(tmp_path)
        assert watch.deaths(STORING, "one") == count
        assert watch.suspects(STORING) == []
        watch.at(STORING, "one")  # and it dies
    assert life(tmp_path).deaths(STORING, "one") == BELIEVED
    assert life(tmp_path).suspects(STORING) == ["one"]
    assert life(tmp_path).suspects(EXPLAINING) == []


def test_a_death_at_rest_is_nobodys(tmp_path: Path) -> None:
    watch = life(tmp_path)
    watch.at(STORING, "one")
    watch.rest()
    assert life(tmp_path).deaths(STORING, "one") == 0
    watch.at(STORING, "two")
    watch.close()
    assert life(tmp_path).deaths(STORING, "two") == 0


def test_what_comes_through_is_forgotten(tmp_path: Path) -> None:
    life(tmp_path).at(EXPLAINING, "one")
    watch = life(tmp_path)
    assert watch.deaths(EXPLAINING, "one") == 1
    watch.acquit(EXPLAINING, "one")
    assert watch.deaths(EXPLAINING, "one") == 0
    assert not (tmp_path / DEATHS_NAME).exists()


def test_a_list_that_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    for junk in (b"junk", b"[1]", b'{"store one": "x"}'):
        (tmp_path / DEATHS_NAME).write_bytes(junk)
        assert life(tmp_path).suspects(STORING) == []


def test_the_list_of_suspects_is_bounded(tmp_path: Path) -> None:
    for number in range(300):
        life(tmp_path).at(STORING, f"n{number}")
    assert life(tmp_path).deaths(STORING, "n0") == 0
    assert life(tmp_path).deaths(STORING, "n298") == 1


def test_a_place_that_cannot_be_written_costs_the_knowledge_only(tmp_path: Path) -> None:
    watch = life(tmp_path / "nowhere")
    watch.at(STORING, "one")
    watch.rest()
    watch.acquit(STORING, "one")
    watch.close()
    assert watch.deaths(STORING, "one") == 0
