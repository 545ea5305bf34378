"""The live feeds, against real Hypercorn on real sockets, with captures stored by another process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
from trio_websocket import ConnectionClosed

from claudeproxy.model import State
from tests.api.captures import answered, correlation, exchange, prompt, whole
from tests.api.conftest import MAIN, Captures, app_on, served
from tests.api.following import (
    UPGRADE,
    asking,
    data_of,
    deaf_client,
    feed_app,
    listening,
    other_process,
    serving,
    socket_to,
    upgrade,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from claudeproxy.api.events import LiveEvent


@pytest.fixture
def growing(tmp_path: Path) -> Captures:
    """A database of the test's own."""
    return Captures(tmp_path / "captures.db")


@pytest.fixture
async def client(growing: Captures) -> AsyncIterator[httpx.AsyncClient]:
    async with served(app_on(growing)) as client:
        yield client


def told(event: LiveEvent) -> tuple[str, str, str]:
    return event.request.correlation_id, event.change, event.request.state


def many(first: int, count: int) -> list[tuple[int, object]]:
    return [(number, exchange(number, body=whole(b""), response=answered())) for number in range(first, first + count)]


async def test_every_change_of_an_exchange_is_told_on_both_feeds(growing: Captures, client: httpx.AsyncClient) -> None:
    body = whole(prompt())
    async with listening(client) as sse, socket_to(client) as socket:
        seen = []
        for store in (
            lambda: growing.record([(1, exchange(1, state=State.IN_FLIGHT, body=body))]),
            lambda: growing.record([(1, exchange(1, body=body, response=answered()))]),
            lambda: growing.explain(1, prompt(), MAIN),
        ):
            store()
            event = await sse.event()
            assert await socket.event() == event
            seen.append((*told(event), event.final, bool(event.sources)))
    assert seen == [
        (correlation(1), "started", "in_flight", False, False),
        (correlation(1), "ended", "complete", False, False),
        (correlation(1), "attributed", "complete", True, True),
    ]


async def test_an_event_carries_the_request_as_the_list_shows_it(growing: Captures, client: httpx.AsyncClient) -> None:
    async with listening(client) as sse:
        growing.record([(1, exchange(1, response=answered()))])
        growing.explain(1, prompt("hello number 1"), MAIN)
        await sse.event()
        event = await sse.event()
    (listed,) = (await client.get("/api/claude/requests")).json()["requests"]
    detail = (await client.get(f"/api/claude/requests/{listed['id']}")).json()
    assert event.request.model_dump() == listed
    assert [one.model_dump() for one in event.sources] == detail["sources"] != []


async def test_captures_of_another_process_are_told(growing: Captures, client: httpx.AsyncClient) -> None:
    with other_process(growing.path) as other:
        async with listening(client) as sse, socket_to(client) as socket:
            for state, change in (("in_flight", "started"), ("aborted_by_client", "ended")):
                other.store(3, state)
                assert told(await sse.event()) == (correlation(3), change, state)
                assert told(await socket.event()) == (correlation(3), change, state)


async def test_a_reader_that_comes_back_goes_on_from_its_last_event(
    growing: Captures, client: httpx.AsyncClient
) -> None:
    async with listening(client) as sse:
        growing.record(many(1, 3))
        numbers = [(await sse.event()).event_id for _ in range(3)]
    assert numbers == sorted(set(numbers))
    growing.record(many(4, 250))  # more than is read in one go
    last = numbers[0]
    expected = [correlation(number) for number in range(2, 254)]
    resumed: list[list[str]] = [[], [], []]
    async with (
        listening(client, headers={"Last-Event-ID": str(last)}, last_event_id=0) as header,
        listening(client, last_event_id=last) as parameter,
        socket_to(client, f"?last_event_id={last}") as socket,
    ):
        for feed, seen in zip((header, parameter, socket), resumed, strict=True):
            for _ in expected:
                seen.append((await feed.event()).request.correlation_id)
        assert resumed == [expected] * 3
        growing.record(many(300, 1))
        for feed in (header, parameter, socket):
            assert (await feed.event()).request.correlation_id == correlation(300)


async def test_an_id_holds_over_a_restart_of_the_server(growing: Captures) -> None:
    async with served(app_on(growing)) as client, listening(client) as sse:
        growing.record(many(1, 1))
        last = (await sse.event()).event_id
    growing.record(many(2, 1))
    async with served(app_on(growing)) as client, listening(client, last_event_id=last) as sse:
        assert (await sse.event()).request.correlation_id == correlation(2)


async def test_an_event_that_is_not_there_is_said_and_the_feed_goes_on_from_now(
    growing: Captures, client: httpx.AsyncClient
) -> None:
    """The database was deleted, or an older copy put in its place: that number may never come."""
    growing.record(many(1, 2))
    async with (
        listening(client, last_event_id=1_000_000) as sse,
        socket_to(client, "?last_event_id=1000000") as socket,
    ):
        fields = await sse.fields()
        said = json.loads(fields["data"])
        assert (fields["event"], fields["id"], said["reset"]) == ("reset", str(said["event_id"]), True)
        assert json.loads(await socket.connection.get_message()) == said
        growing.record(many(3, 1))
        for feed in (sse, socket):
            event = await feed.event()
            assert event.request.correlation_id == correlation(3)
            assert event.event_id > said["event_id"]


async def test_only_what_matches_the_filters_is_told(growing: Captures, client: httpx.AsyncClient) -> None:
    query = {"status": 429, "method": "PUT", "path": "/v1/*", "start_time": "2026-01-01T00:00:02Z"}
    async with (
        listening(client, **query) as sse,
        socket_to(client, "?status=429&method=PUT&path=/v1/*&start_time=2026-01-01T00:00:02Z") as socket,
    ):
        empty = whole(b"")
        growing.record(
            [
                (1, exchange(1, method="PUT", body=empty, response=answered(429))),  # too early
                (2, exchange(2, method="PUT", body=empty, response=answered(200))),
                (3, exchange(3, method="POST", body=empty, response=answered(429))),
                (4, exchange(4, method="PUT", body=empty, path="/other", response=answered(429))),
                (5, exchange(5, method="PUT", body=empty, response=answered(429))),
            ]
        )
        assert told(await sse.event()) == (correlation(5), "ended", "complete")
        assert told(await socket.event()) == (correlation(5), "ended", "complete")


async def test_a_filter_on_a_source_matches_when_the_source_is_known(
    growing: Captures, client: httpx.AsyncClient
) -> None:
    async with listening(client, context_source="docs") as sse:
        growing.record([(1, exchange(1, response=answered()))])
        growing.explain(1, prompt("hello number 1"), MAIN)
        # Its end is told too when the source was found before the end was read.
        while (event := await sse.event()).change != "attributed":
            assert event.sources
        assert told(event) == (correlation(1), "attributed", "complete")


@pytest.mark.parametrize(
    "query", ["limit=5", "offset=1", "state=gone", "last_event_id=-1", "last_event_id=x", "nonsense=1"]
)
async def test_a_bad_parameter_is_400_on_both_feeds(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/claude/live?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid request parameters"
    assert await upgrade(client, f"?{query}") == (400, answer.content)


async def test_a_last_event_id_that_is_none_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/claude/live", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["details"]
    assert (await upgrade(client, Last_Event_ID="-1"))[0] == 400


async def test_the_stream_says_what_it_is_and_is_not_cached(client: httpx.AsyncClient) -> None:
    async with listening(client) as sse:
        headers = sse.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    head = await client.head("/api/claude/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


async def test_the_websocket_asked_as_a_page_is_an_error_in_json(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/claude/ws")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "Invalid request parameters",
        "details": "This is a WebSocket: connect with one, or use /api/claude/live.",
    }


async def test_another_route_asked_as_a_websocket_does_not_claim_to_be_one(client: httpx.AsyncClient) -> None:
    async with await deaf_client(client.base_url.netloc.decode(), "/api/claude/live", *UPGRADE) as stream:
        answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"This is a WebSocket" not in answer


# --- who may listen ------------------------------------------------------------------------------------------------

TOKEN = "a-dummy-token-of-some-length"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}, 403),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://localhost:3001"}, 200),
    ],
)
async def test_both_feeds_are_guarded_as_every_route(growing: Captures, headers: dict[str, str], status: int) -> None:
    async with serving(app_on(growing, token=TOKEN, token_required=True)) as server:
        async with asking(server.client, headers=headers) as (sse, _):
            assert sse.status == status
        answered_with, body = await upgrade(server.client, **headers)
        assert answered_with == (101 if status == 200 else status)
        assert (b'{"error": ' in body) is (status != 200)


async def test_a_token_opens_the_websocket(growing: Captures) -> None:
    async with served(app_on(growing, token=TOKEN, token_required=True)) as client:
        async with socket_to(client, Authorization=f"Bearer {TOKEN}") as socket:
            growing.record(many(1, 1))
            assert (await socket.event()).request.correlation_id == correlation(1)


# --- limits --------------------------------------------------------------------------------------------------------


async def test_there_are_so_many_places_and_they_are_given_back(growing: Captures) -> None:
    async with serving(feed_app(growing, limit=2)) as server:
        async with listening(server.client), socket_to(server.client):
            answer = await server.client.get("/api/claude/live")
            assert answer.status_code == 503
            assert answer.json() == {
                "error": "Service Unavailable",
                "details": "there are 2 live subscribers already; close one, or try again later",
            }
            assert (await upgrade(server.client))[0] == 503
        with trio.fail_after(5):
            while True:  # the server sees that a client left a moment after it has left
                async with asking(server.client) as (first, _), asking(server.client) as (second, _):
                    if (first.status, second.status) == (200, 200):
                        break


async def test_silence_is_filled_with_heartbeats(growing: Captures) -> None:
    async with serving(feed_app(growing, heartbeat=0.02)) as server:
        async with listening(server.client) as sse:
            for _ in range(3):
                await sse.comment()
        stream = await deaf_client(server.address, "/api/claude/ws", *UPGRADE)
        async with stream:
            received = b""
            with trio.fail_after(5):
                while received.count(b"\x89\x00") < 3:
                    received += await stream.receive_some()
            assert received.endswith(b"\r\n\r\n" + b"\x89\x00" * 3)
        async with socket_to(server.client) as socket:  # whose client answers pings
            growing.record(many(1, 1))
            assert (await socket.event()).request.correlation_id == correlation(1)


@pytest.mark.parametrize("path", ["/api/claude/live", "/api/claude/ws"])
async def test_who_takes_nothing_is_cut_off_while_the_others_go_on(growing: Captures, path: str) -> None:
    async with serving(feed_app(growing, patience=0.3), small_buffers=True) as server:
        more = UPGRADE if path.endswith("ws") else ()
        deaf = await deaf_client(server.address, path, *more)
        async with deaf, listening(server.client) as sse:
            growing.record(many(1, 200))
            for number in range(1, 201):
                assert (await sse.event()).request.correlation_id == correlation(number)
            received = 0
            with trio.fail_after(5):
                await trio.sleep(1.0)  # it is deaf for longer than the server's patience
                try:
                    while piece := await deaf.receive_some():
                        received += len(piece)
                except trio.BrokenResourceError:
                    pass
            assert 0 < received < 100_000  # 200 events are more
            growing.record(many(300, 1))
            assert (await sse.event()).request.correlation_id == correlation(300)


async def test_what_a_client_says_on_the_websocket_is_ignored(growing: Captures, client: httpx.AsyncClient) -> None:
    async with socket_to(client) as socket:
        for _ in range(50):
            await socket.connection.send_message("hello?")
        growing.record(many(1, 1))
        assert (await socket.event()).request.correlation_id == correlation(1)


async def test_a_long_message_on_the_websocket_closes_it(client: httpx.AsyncClient) -> None:
    async with socket_to(client) as socket:
        await socket.connection.send_message("x" * 10_000)
        with trio.fail_after(5), pytest.raises(ConnectionClosed) as closed:
            await socket.connection.get_message()
        assert closed.value.reason.code == 1009


async def test_a_database_that_comes_back_is_followed_again(growing: Captures, client: httpx.AsyncClient) -> None:
    growing.record(many(1, 5))
    async with listening(client, last_event_id=0) as sse:
        for _ in range(5):
            await sse.event()
        growing.close()
        for file in growing.path.parent.glob("captures.db*"):
            file.unlink()
        again = Captures(growing.path)
        again.record(many(7, 1))
        assert (await sse.event()).request.correlation_id == correlation(7)


# --- the end -------------------------------------------------------------------------------------------------------


async def test_a_shutdown_is_told_and_takes_no_time(growing: Captures) -> None:
    async with serving(app_on(growing)) as server:
        async with listening(server.client) as sse, socket_to(server.client) as socket:
            server.end()
            fields = await sse.fields()
            assert fields["event"] == "end"
            assert data_of(fields) == {"reason": "the server stops"}
            await sse.end()
            with trio.fail_after(2), pytest.raises(ConnectionClosed) as closed:
                await socket.connection.get_message()
            assert (closed.value.reason.code, closed.value.reason.reason) == (1001, "the server stops")
            await server.stop(within=1.5)


@pytest.mark.parametrize("path", ["/api/claude/live", "/api/claude/ws"])
async def test_a_dead_client_does_not_hold_up_the_shutdown(growing: Captures, path: str) -> None:
    async with serving(app_on(growing), small_buffers=True) as server:
        deaf = await deaf_client(server.address, path, *(UPGRADE if path.endswith("ws") else ()))
        async with deaf, listening(server.client) as sse:
            growing.record(many(1, 200))
            for _ in range(200):
                await sse.event()
            await server.stop(within=1.5)


@pytest.mark.parametrize("path", ["/api/claude/live", "/api/claude/ws"])
async def test_a_client_that_went_away_does_not_hold_up_the_shutdown(growing: Captures, path: str) -> None:
    async with serving(app_on(growing)) as server:
        stream = await deaf_client(server.address, path, *(UPGRADE if path.endswith("ws") else ()))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 ")
        await trio.aclose_forcefully(stream)
        await server.stop(within=1.0)


async def test_a_cancelled_server_leaves_at_once(growing: Captures) -> None:
    with trio.fail_after(3):
        async with trio.open_nursery() as nursery:
            async with serving(app_on(growing)) as server, listening(server.client):
                nursery.cancel_scope.cancel()
