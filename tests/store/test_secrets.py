from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.errors import NotFoundError
from claudeproxy.insight.secrets import Secrets
from claudeproxy.model import Direction, RecordedExchange, SecretFinding, State
from claudeproxy.store.retention import Retention
from claudeproxy.store.secrets import NOT_ATTRIBUTED, SecretPlaces
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORD = b"FOUND-HERE"
BODY = b'{"model":"m","messages":[{"role":"user","content":"Look: FOUND-HERE, and FOUND-HERE."}]}'


def finding(
    start: int, *, digest: str = "a" * 32, direction: Direction = Direction.SENT, redacted: bool = False
) -> SecretFinding:
    return SecretFinding(direction=direction, rule="jwt", hash=digest, start=start, length=len(WORD), redacted=redacted)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CaptureStorage]:
    with CaptureStorage(tmp_path / "captures.db") as opened:
        yield opened


def holding(number: int, *findings: SecretFinding, body: bytes = BODY) -> RecordedExchange:
    return replace(exchange(number, body), secrets=findings)


def explain(storage: CaptureStorage, request_id: str, body: bytes = BODY) -> None:
    result = AttributionEngine().analyze_request(body)
    storage.save_attribution(request_id, result, [1] * len(result.segments()), rules_version="v1")


def test_a_secret_is_counted_once_for_each_request_and_placed_by_its_source(storage: CaptureStorage) -> None:
    first, second = BODY.index(WORD), BODY.rindex(WORD)
    for number in (1, 2):
        (request_id,) = storage.record([holding(number, finding(first), finding(second))], {})
        explain(storage, request_id)
    assert not SecretPlaces(storage).catch_up()
    (use,) = Secrets(storage).uses()
    assert (use.rule, use.sent, use.received, use.masked) == ("jwt", 2, 0, 0)
    assert [(one.label, one.requests) for one in use.sources] == [("User", 2)]
    places = Secrets(storage).sightings(use.hash)
    assert [(one.start, one.source, one.json_path) for one in places] == [
        (first, "User", "$.messages[0].content"),
        (second, "User", "$.messages[0].content"),
    ] * 2
    assert use.first_seen < use.last_seen


def test_storing_an_exchange_again_counts_nothing_twice(storage: CaptureStorage) -> None:
    one = holding(1, finding(5))
    storage.record([replace(one, state=State.IN_FLIGHT, response=None)], {})
    storage.record([one], {})
    storage.record([one], {})
    (use,) = Secrets(storage).uses()
    assert (use.sent, len(Secrets(storage).sightings(use.hash))) == (1, 1)


def test_an_answer_that_holds_one_is_the_assistants(storage: CaptureStorage) -> None:
    storage.record([holding(1, finding(9, direction=Direction.RECEIVED, redacted=True))], {})
    (use,) = Secrets(storage).uses()
    assert (use.sent, use.received, use.masked) == (0, 1, 1)
    assert [one.label for one in use.sources] == ["Assistant"]
    assert Secrets(storage).uses(sent=True) == []


def test_places_outside_the_prompt_are_named_by_their_member(storage: CaptureStorage) -> None:
    body = b'{"metadata":{"user_id":"FOUND-HERE"},' + BODY[1:]
    at = body.index(WORD)
    (request_id,) = storage.record([holding(1, finding(at), body=body)], {})
    explain(storage, request_id, body)
    SecretPlaces(storage).catch_up()
    (place,) = Secrets(storage).sightings("a" * 32)
    assert (place.source, place.json_path) == ("Overhead", "$.metadata")


def test_a_place_before_and_behind_a_cache_control_is_the_right_one(storage: CaptureStorage) -> None:
    """Blocks are stored without that member: offsets behind it are shorter."""
    block = b'{"type":"text","cache_control":{"type":"ephemeral"},"text":"Look: FOUND-HERE"}'
    body = b'{"model":"m","messages":[{"role":"user","content":[' + block + b"]}]}"
    (request_id,) = storage.record([holding(1, finding(body.index(WORD)), body=body)], {})
    explain(storage, request_id, body)
    SecretPlaces(storage).catch_up()
    (place,) = Secrets(storage).sightings("a" * 32)
    assert (place.source, place.json_path) == ("User", "$.messages[0].content[0].text")


def test_what_is_not_explained_yet_waits(storage: CaptureStorage) -> None:
    (request_id,) = storage.record([holding(1, finding(BODY.index(WORD)))], {})
    SecretPlaces(storage).catch_up()
    assert Secrets(storage).sightings("a" * 32)[0].source is None
    explain(storage, request_id)
    SecretPlaces(storage).catch_up()
    assert Secrets(storage).sightings("a" * 32)[0].source == "User"


def test_a_body_that_is_no_prompt_has_no_source(storage: CaptureStorage) -> None:
    body = b"no json: FOUND-HERE"
    (request_id,) = storage.record([holding(1, finding(9), body=body)], {})
    explain(storage, request_id, body)
    SecretPlaces(storage).catch_up()
    assert [one.label for one in Secrets(storage).uses()[0].sources] == [NOT_ATTRIBUTED]


def test_the_sums_outlive_the_captures(storage: CaptureStorage) -> None:
    """That a key left this machine stays true when the conversation is gone; where it stood is gone with it."""
    (request_id,) = storage.record([holding(1, finding(BODY.index(WORD)))], {})
    explain(storage, request_id)
    SecretPlaces(storage).catch_up()
    before = Secrets(storage).uses()
    Retention(storage, pause=lambda _: None).delete_request(request_id)
    assert storage.query_requests(RequestFilters()).total == 0
    assert Secrets(storage).uses() == before
    assert Secrets(storage).sightings("a" * 32) == []


def test_what_is_asked_for_narrows_the_list(storage: CaptureStorage) -> None:
    storage.record([holding(1, finding(5)), holding(2, finding(5, digest="b" * 32))], {})
    secrets = Secrets(storage)
    older, newer = sorted(secrets.uses(), key=lambda one: one.first_seen)
    assert [one.hash for one in secrets.uses()] == [newer.hash, older.hash]
    assert [one.hash for one in secrets.uses(since=newer.first_seen)] == [newer.hash]
    assert [one.hash for one in secrets.uses(until=newer.first_seen)] == [older.hash]
    assert secrets.uses(rule="other") == []
    assert secrets.uses(source="MCP: docs") == []
    assert secrets.use("bb").hash == "b" * 32


@pytest.mark.parametrize("wanted", ["", "c", "zz"])
def test_an_unknown_hash_is_not_found(storage: CaptureStorage, wanted: str) -> None:
    storage.record([holding(1, finding(5)), holding(2, finding(5, digest="ab" * 16))], {})
    with pytest.raises(NotFoundError):
        Secrets(storage).use(wanted)
    with pytest.raises(NotFoundError, match="several") as caught:
        Secrets(storage).use("a")
    assert len(caught.value.near) == 2
