"""MockUpstream against real sockets and other people's clients."""

from __future__ import annotations

import gzip
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trio.testing
import trustme
import zstandard

from claudeproxy.testing import (
    Answer,
    ErrorReply,
    Fault,
    FaultKind,
    Gate,
    MockUpstream,
    NoAnswer,
    Outcome,
    Pace,
    RawReply,
    Replies,
    Reply,
    Script,
    Text,
    Thinking,
    ToolUse,
    always,
    overloaded,
    rate_limited,
    server_error,
    text,
    tool_use,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = {"x-api-key": "sk-ant-api03-dummy"}
BODY = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
STREAM = {**BODY, "stream": True}


@asynccontextmanager
async def running(script: Script, **options: object) -> AsyncIterator[MockUpstream]:
    mock = MockUpstream(script, **options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        yield mock
        nursery.cancel_scope.cancel()


def client(mock: MockUpstream, **options: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=mock.url, headers=KEY, trust_env=False, **options)  # type: ignore[arg-type]


async def ask(answer: Answer, body: object = BODY) -> httpx.Response:
    async with running(always(answer)) as mock, client(mock) as http:
        return await http.post("/v1/messages", json=body)


async def expect_broken(answer: Answer) -> None:
    async with running(always(answer)) as mock, client(mock) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/v1/messages", json=BODY)


def events(response: httpx.Response) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_request_without_stream_is_answered_with_one_document() -> None:
    response = await ask(text("Hello there"))
    message = response.json()
    assert response.status_code == 200
    assert response.headers["request-id"] == "req_mock_000001"
    assert message["content"] == [{"type": "text", "text": "Hello there"}]
    assert (message["stop_reason"], message["model"], message["id"]) == (
        "end_turn",
        "claude-opus-5-5",
        "msg_mock_000001",
    )
    assert message["usage"]["input_tokens"] > 0


async def test_a_stream_has_the_events_of_the_api_in_their_order() -> None:
    reply = Reply(
        content=(Thinking(thinking="hm"), Text(text="I look."), ToolUse(name="Bash", input={"command": "date"})),
        piece=6,
    )
    response = await ask(reply, STREAM)
    found = events(response)
    names = [name for name, _ in found]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("content_block_start") == names.count("content_block_stop") == 3
    start = found[0][1]["message"]
    assert start["usage"]["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}  # type: ignore[index]
    deltas = [data["delta"] for name, data in found if name == "content_block_delta"]
    pieces = [d["partial_json"] for d in deltas if d["type"] == "input_json_delta"]  # type: ignore[index]
    assert len(pieces) > 2
    assert json.loads("".join(pieces)) == {"command": "date"}
    assert any(d["type"] == "signature_delta" for d in deltas)  # type: ignore[index]
    assert found[-2][1]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_an_encoded_answer_decodes_to_the_same_words(coding: str, body: object) -> None:
    response = await ask(Reply(content=(Text(text="packed words"),), encoding=coding), body)
    assert response.headers["content-encoding"] == coding
    assert "packed words" in response.text


async def test_a_zstd_stream_is_flushed_event_by_event() -> None:
    gate = Gate()
    reply = Reply(content=(Text(text="z" * 90),), encoding="zstd", pace=Pace(gate=gate))
    unpack = zstandard.ZstdDecompressor().decompressobj()
    async with running(always(reply)) as mock, client(mock) as http:
        gate.release()
        async with http.stream("POST", "/v1/messages", json=STREAM) as response:
            parts = response.aiter_raw()
            assert b"message_start" in unpack.decompress(await anext(parts))
            gate.open()
            rest = b"".join([unpack.decompress(part) async for part in parts])
    assert b"message_stop" in rest


@pytest.mark.parametrize(
    ("answer", "status", "error_type"),
    [
        (rate_limited(7), 429, "rate_limit_error"),
        (server_error(), 500, "api_error"),
        (overloaded(), 529, "overloaded_error"),
        (ErrorReply(status_code=403, error_type="permission_error", message="no"), 403, "permission_error"),
    ],
)
async def test_errors_come_in_the_shape_of_the_api(answer: Answer, status: int, error_type: str) -> None:
    response = await ask(answer)
    assert response.status_code == status
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == error_type
    assert response.json()["request_id"] == response.headers["request-id"]
    assert response.headers.get("retry-after") == ("7" if status == 429 else None)


async def test_the_script_can_break_a_stream_off_in_the_middle() -> None:
    reply = Reply(content=(Text(text="never finished"),), fault=Fault(kind=FaultKind.CUT, after=3))
    async with running(always(reply)) as mock, client(mock) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/v1/messages", json=STREAM)
        request = await mock.wait_message(1)
        assert await request.wait_finished() is Outcome.BROKEN_OFF


async def test_a_document_can_end_too_soon() -> None:
    reply = Reply(content=(Text(text="never finished"),), fault=Fault(kind=FaultKind.CUT, after=20))
    await expect_broken(reply)


async def test_an_error_can_come_inside_a_stream_that_began_well() -> None:
    response = await ask(Reply(content=(Text(text="a"),), fault=Fault(kind=FaultKind.ERROR, after=4)), STREAM)
    assert response.status_code == 200
    name, data = events(response)[-1]
    assert name == "error"
    assert data["error"]["type"] == "overloaded_error"  # type: ignore[index]


async def test_a_connection_can_be_closed_without_a_byte() -> None:
    await expect_broken(NoAnswer(close=True))


@pytest.mark.parametrize(
    "answer", [NoAnswer(), Reply(content=(Text(text="a"),), fault=Fault(kind=FaultKind.HANG, after=2))]
)
async def test_a_client_that_leaves_a_silent_mock_is_noticed(answer: Answer) -> None:
    async with running(always(answer)) as mock:
        stream = await trio.open_tcp_stream("127.0.0.1", mock.port)  # noqa: TID251 - a bare client
        body = json.dumps(STREAM).encode()
        head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)
        request = await mock.wait_request(1)
        assert request.outcome is Outcome.PENDING
        await stream.aclose()
        assert await request.wait_finished() is Outcome.CLIENT_GONE


async def test_a_gate_holds_events_back_until_the_test_lets_them_go() -> None:
    gate = Gate()
    reply = Reply(content=(Text(text="abcdef"),), piece=2, pace=Pace(gate=gate))
    async with running(always(reply)) as mock, client(mock) as http:
        gate.release(2)
        async with http.stream("POST", "/v1/messages", json=STREAM) as response:
            await gate.wait_arrived(3)
            parts = response.aiter_text()
            seen = await anext(parts)
            while "content_block_start" not in seen:
                seen += await anext(parts)
            assert "ping" not in seen
            gate.open()
            seen += "".join([part async for part in parts])
    assert "message_stop" in seen
    assert gate.arrived == seen.count("event: ")
    assert "all" in repr(gate)


async def test_a_paced_stream_arrives_whole(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    mock = MockUpstream(always(Reply(content=(Text(text="slow words"),), piece=1, pace=Pace(delay=5.0))))
    ours, theirs = trio.testing.memory_stream_pair()
    body = json.dumps(STREAM).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mock.handle, theirs)
        start = trio.current_time()
        await ours.send_all(head.encode() + body)
        seen = b""
        while b"message_stop" not in seen:
            seen += bytes(await ours.receive_some())
        assert trio.current_time() - start >= 5 * 15
        await ours.aclose()


async def test_a_burst_leaves_in_one_write() -> None:
    gate = Gate()
    gate.open()
    response = await ask(Reply(content=(Text(text="a b c d e f"),), piece=1, pace=Pace(batch=0, gate=gate)), STREAM)
    assert len(events(response)) > 10
    assert gate.arrived == 1


async def test_what_came_is_kept_to_the_byte() -> None:
    packed = gzip.compress(json.dumps(BODY).encode())
    async with running(always(text("ok"))) as mock, client(mock) as http:
        await http.post("/v1/messages?beta=true", content=packed, headers={"Content-Encoding": "gzip", "X-Odd": "Case"})
        request = await mock.wait_request(1)
    assert request.body == packed
    assert request.json == BODY
    assert b"X-Odd: Case\r\n" in request.raw_head
    assert (b"X-Odd", b"Case") in request.headers
    assert (request.path, request.target) == ("/v1/messages", "/v1/messages?beta=true")
    assert request.header("x-api-key") == "sk-ant-api03-dummy"
    assert request.header("absent") is None
    assert request.prompt == "hello"
    assert mock.messages == [request]


async def test_a_connection_is_kept_alive_and_numbered() -> None:
    async with running(Replies([text("one"), text("two")])) as mock, client(mock) as http:
        for _ in range(2):
            await http.post("/v1/messages", json=BODY)
        await mock.wait_request(2)
    assert [r.connection for r in mock.received] == [1, 1]
    assert mock.connections == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    body = json.dumps(BODY).encode()
    one = (
        f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    async with running(Replies([text("first"), text("second")])) as mock:
        stream = await trio.open_tcp_stream("127.0.0.1", mock.port)  # noqa: TID251 - a bare client
        await stream.send_all(one + one)
        seen = b""
        while b"second" not in seen:
            seen += bytes(await stream.receive_some())
        await stream.aclose()
    assert seen.index(b"first") < seen.index(b"second")


async def test_other_paths_are_not_found_and_the_preflight_is_fine() -> None:
    async with running(always(text("x"))) as mock, client(mock) as http:
        settings = await http.get("/api/claude_code/settings")
        assert settings.status_code == 404
        assert settings.json()["error"]["type"] == "not_found_error"
        head = await http.head("/")
        assert (head.status_code, head.content) == (200, b"")
        counted = await http.post("/v1/messages/count_tokens?beta=true", json=BODY)
        assert counted.json()["input_tokens"] > 0


async def test_a_request_without_a_key_is_refused() -> None:
    async with running(always(text("x"))) as mock, client(mock) as http:
        del http.headers["x-api-key"]
        response = await http.post("/v1/messages", json=BODY)
    assert response.status_code == 401


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}"])
async def test_a_body_that_is_no_request_is_an_error_of_the_client(content: bytes) -> None:
    async with running(always(text("x"))) as mock, client(mock) as http:
        response = await http.post("/v1/messages", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("coding", "status"), [("br", 415), ("gzip", 400)])
async def test_a_body_that_cannot_be_decoded_is_an_error_of_the_client(coding: str, status: int) -> None:
    async with running(always(text("x"))) as mock, client(mock) as http:
        response = await http.post("/v1/messages", content=b"junk", headers={"Content-Encoding": coding})
    assert response.status_code == status


async def test_a_script_without_a_reply_says_so_to_the_client_and_to_the_test() -> None:
    async with running(Replies()) as mock, client(mock) as http:
        response = await http.post("/v1/messages", json=BODY)
    assert response.status_code == 400
    assert "no reply for request 1" in response.json()["error"]["message"]
    assert len(mock.unanswered) == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" + b"x" * 99, b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 4000, b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
    ],
)
async def test_what_cannot_be_read_is_refused(sent: bytes, status: bytes) -> None:
    async with running(always(text("x")), max_body_bytes=50, max_head_bytes=1000) as mock:
        stream = await trio.open_tcp_stream("127.0.0.1", mock.port)  # noqa: TID251 - a bare client
        await stream.send_all(sent)
        answer = bytes(await stream.receive_some())
        await stream.aclose()
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with running(always(text("x"))) as mock:
        stream = await trio.open_tcp_stream("127.0.0.1", mock.port)  # noqa: TID251 - a bare client
        await stream.send_all(b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"hi")
        assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 404 ")
        await stream.aclose()
        assert (await mock.wait_request(1)).body == b"hi"


async def test_it_serves_tls_with_the_certificate_it_is_given() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with running(always(text("sealed")), tls=server) as mock:
        assert mock.url.startswith("https://127.0.0.1:")
        async with client(mock, verify=trusting) as http:
            response = await http.post("/v1/messages", json=BODY)
            assert response.json()["content"][0]["text"] == "sealed"
        async with client(mock) as http:
            with pytest.raises(httpx.ConnectError):
                await http.head("/")
        async with client(mock, verify=trusting) as http:  # one client's distrust ends nobody else's connection
            assert (await http.head("/")).status_code == 200


async def test_a_raw_reply_is_sent_as_it_is() -> None:
    response = await ask(RawReply(status_code=418, headers=((b"X-Tea", b"pot"),), body=b"short and stout"))
    assert (response.status_code, response.content, response.headers["x-tea"]) == (418, b"short and stout", "pot")
    assert (await ask(RawReply(status_code=204))).content == b""


async def test_a_thread_is_billed_for_the_whole_conversation() -> None:
    answers = Replies([text("one " * 400), text("two")])
    async with running(answers) as mock, client(mock) as http:
        first = await http.post("/v1/messages", json={**BODY, "system": "s" * 400, "thread": {"type": "create"}})
        follow = {"type": "continue", "previous_message_id": first.json()["id"]}
        second = await http.post("/v1/messages", json={**BODY, "thread": follow})
        lost = await http.post("/v1/messages", json={**BODY, "thread": {**follow, "previous_message_id": "msg_none"}})
    assert second.json()["usage"]["input_tokens"] > first.json()["usage"]["input_tokens"] + 400
    assert lost.status_code == 400


async def test_bodies_can_be_forgotten() -> None:
    async with running(always(text("x")), keep_bodies=False) as mock, client(mock) as http:
        await http.post("/v1/messages", json=BODY)
        request = await mock.wait_request(1)
        await request.wait_finished()
    assert request.body == b""


async def test_reprs_say_what_a_debugger_wants_to_know() -> None:
    async with running(Replies([tool_use("Bash", {}, say="Look:")])) as mock, client(mock) as http:
        await http.post("/v1/messages", json=BODY)
    assert "received=1" in repr(mock)
    assert repr(mock.received[0]).startswith("<ReceivedRequest 1 POST /v1/messages")
