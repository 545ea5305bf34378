from __future__ import annotations

import random

import pytest

from claudeproxy.store import runs as module
from claudeproxy.store.retention import Retention
from claudeproxy.store.runs import SourceRow, SourceRuns
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import exchange
from tests.store.filling import prompt
from tests.store.older import before_runs

SOURCES = 10


class World:
    """Requests of one session, what each is to have of each source, and how it is stored."""

    def __init__(self, storage: CaptureStorage, requests: int) -> None:
        self.storage, self.run = storage, storage._connection.execute
        storage.record([exchange(n, prompt(f"{n}")) for n in range(requests)], {})
        self.run("UPDATE requests SET session_id = 's', request_class = 'main'")
        for source in range(1, SOURCES + 3):
            self.run("INSERT INTO sources (id, type, name, label) VALUES (?, 'Tool', ?, ?)", (source, source, source))
        self.expected: dict[int, set[SourceRow]] = {}

    def write(self, number: int, **tokens: int) -> None:
        """All sources with their usual tokens, but for some (`s3=7`); 0 leaves one out."""
        usual = {source: 10 * source for source in range(1, SOURCES + 1)}
        usual |= {int(name[1:]): count for name, count in tokens.items()}
        rows = [SourceRow(source, count, 0, None, 1) for source, count in usual.items() if count]
        SourceRuns(self.storage._connection).write(number, rows, ())
        self.expected[number] = set(rows)

    def found(self) -> dict[int, set[SourceRow]]:
        found: dict[int, set[SourceRow]] = {}
        for number, *row in self.run(
            "SELECT request, source, tokens, accuracy, cost, segments, output FROM request_sources"
        ):
            found.setdefault(number, set()).add(SourceRow(*row))
        return found

    def stored(self) -> int:
        return int(self.run("SELECT count(*) FROM source_runs").fetchone()[0])


@pytest.fixture
def world(storage):
    return World(storage, 40)


def test_what_stays_the_same_is_stored_once(world):
    for number in range(1, 9):
        world.write(number, s1=number)
    assert world.found() == world.expected
    assert world.stored() == SOURCES + 7


def test_sources_come_and_go(world):
    world.write(1)
    world.write(2, s11=5, s3=0)
    world.write(3)
    assert world.found() == world.expected
    assert world.stored() == SOURCES + 2  # the eleventh, and the third a second time


def test_a_request_that_is_little_like_the_last_begins_a_lane(world):
    world.write(1)
    world.write(2, **{f"s{n}": 7 for n in range(1, 8)})
    assert world.found() == world.expected
    assert world.run("SELECT count(DISTINCT lane) FROM requests").fetchone()[0] == 2


def test_a_request_that_was_an_estimate_first_stands_with_the_others_in_the_end(world):
    world.write(1)
    for number in (2, 3):
        world.write(number, **{f"s{n}": 7 for n in range(1, 8)})
        world.write(number, s1=number)
    assert world.found() == world.expected
    assert world.stored() == SOURCES + 2


def test_a_lane_has_few_requests(world, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 4)
    for number in range(1, 9):
        world.write(number, s1=number)
    assert world.found() == world.expected
    assert (
        world.run("SELECT max(n) - min(n) + 1 FROM requests GROUP BY lane HAVING lane NOT NULL").fetchall()[0][0] == 4
    )


def test_requests_of_other_sessions_and_agents_stand_elsewhere(world):
    world.run("UPDATE requests SET agent_id = 'a' WHERE n = 2")
    world.run("UPDATE requests SET session_id = 't' WHERE n = 3")
    world.run("UPDATE requests SET session_id = NULL WHERE n > 3")
    for number in range(1, 6):
        world.write(number)
    assert world.found() == world.expected
    assert world.stored() == 5 * SOURCES


def test_outputs_stay_where_the_prompt_alone_is_written_again(world):
    runs = SourceRuns(world.storage._connection)
    output = SourceRow(11, 5, 0, 9, 1, 1)
    runs.write(1, [SourceRow(1, 10, 0, 3, 1)], [output])
    runs.write(1, [SourceRow(2, 10, 0, 3, 1)])
    assert world.found() == {1: {SourceRow(2, 10, 0, 3, 1), output}}


def test_a_request_without_sources_has_none(world):
    world.write(1)
    SourceRuns(world.storage._connection).write(1, [], ())
    assert (world.found(), world.stored()) == ({}, 0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_written_again_and_deleted_each_request_has_its_own(world, seed):
    chance = random.Random(seed)
    for _ in range(150):
        number = chance.randint(1, 40)
        if chance.random() < 0.1:
            world.run("DELETE FROM requests WHERE n = ?", (number,))
            world.expected.pop(number, None)
        elif world.run("SELECT 1 FROM requests WHERE n = ?", (number,)).fetchone():
            world.write(number, **{f"s{chance.randint(1, 12)}": chance.randint(0, 3) for _ in range(3)})
    assert world.found() == world.expected
    idle = "SELECT count(*) FROM source_runs r WHERE NOT EXISTS (SELECT 1 FROM requests q WHERE q.lane = r.lane)"
    assert world.run(idle).fetchone()[0] == 0


def test_what_goes_leaves_nothing_behind(world):
    for number in range(1, 41):
        world.write(number, s1=number)
    Retention(world.storage, pause=lambda _: None).expire(before_ns=1 << 62)
    assert world.stored() == 0


def test_an_older_database_keeps_its_rows_and_takes_new_ones(world, database):
    for number in range(1, 5):
        world.write(number, s1=number)
    before_runs(world.storage)
    world.storage.close()
    with CaptureStorage(database) as again:
        world.storage, world.run = again, again._connection.execute
        assert world.found() == world.expected
        world.write(5)
        world.write(2, s2=1)
        assert world.found() == world.expected
        assert again.verify().ok
