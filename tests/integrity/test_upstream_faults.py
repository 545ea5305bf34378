"""The upstream, or the way to it, does not do what it should: in every way into the proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import pytest

from tests.integrity.drive import Fault, asks, drive, each, named
from tests.integrity.house import House
from tests.integrity.page import ENTRY_MODES
from tests.support.faulty_client import AnswerReader, Seen, request
from tests.support.faulty_upstream import (
    LAST_CHUNK,
    FaultyUpstream,
    chunk,
    event,
    head,
    message,
    says,
    see_gone,
    take,
    whole,
)
from tests.support.service import prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integrity.conftest import SayRow
    from tests.integrity.drive import Client, Scene
    from tests.support.faulty_upstream import Behaviour, Meeting, Script
    from tests.support.wire import Wire

EVENTS = message("One word after the other")
BEGUN = b"".join(EVENTS[:4])
WHOLE = b"".join(EVENTS)
STREAM = head(stream=True)
ANSWER = b'{"type": "message", "content": []}'
LARGE = prompt("x" * 32_000_000)

COMPLETE = "`complete`; request whole; response 200 whole"
SOME = "response 200 partial; usage 25 in, 1 out"
OURS = "502 from the proxy"


def unanswered(kind: str) -> str:
    return f"`upstream_error` ({kind}); request whole; response 502 of the proxy whole"


def cut(kind: str, response: str = SOME) -> str:
    return f"`cut_by_upstream` ({kind}); request whole; {response}"


# ---- no connection


DOWN = [
    ("refuses the connection", "refused", "https://127.0.0.1:{port}", {}),
    ("has a name that does not resolve", "dns", "https://upstream.invalid", {}),
    (
        "cannot be reached",
        "unreachable",
        "https://upstream.test",
        {"upstream_addresses": {"upstream.test": "255.255.255.255"}},
    ),
    (
        "takes the connection and never says a word of TLS",
        "timeout",
        "https://127.0.0.1:{listening}",
        {"connect_timeout": 0.3},
    ),
]


@pytest.mark.parametrize(("words", "kind", "url", "keys"), DOWN, ids=[row[1] for row in DOWN])
async def test_an_upstream_that_is_not_there_is_a_502_and_a_record(
    words: str, kind: str, url: str, keys: dict[str, object], tmp_path: Path, row: SayRow
) -> None:
    from tests.integrity.drive import Scene

    deaf, listening = FaultyUpstream(listening=False), FaultyUpstream()
    house = House(tmp_path / "home", url.format(port=deaf.port, listening=listening.port), **keys)
    house.start()
    try:
        scene = Scene(house=house, upstream=deaf, contexts={"good": None}, row=row, down=True)
        fault = Fault(words=words, upstream=says(), client=asks, sees=OURS, record=unanswered(kind))
        for mode in ENTRY_MODES:
            await drive(fault, mode, "Upstream", scene)
    finally:
        house.stop()
        deaf.close()
        listening.close()


def no_tls(words: str, kind: str, upstream: Behaviour) -> Fault:
    return Fault(words=words, upstream=upstream, client=asks, sees=OURS, record=unanswered(kind), certificate="none")


def is_told_nothing(meeting: Meeting) -> Script:
    """Nothing of a request, the key least of all, may go to somebody who may be anybody."""

    async def script(wire: Wire) -> None:
        raise AssertionError(f"the proxy agreed to talk, and said {await wire.read_some(100)!r}")

    return script


def after_a_hello(then: Literal["close", "reset"]) -> Behaviour:
    """Take the ClientHello, then go."""

    def behaviour(meeting: Meeting) -> Script:
        async def script(wire: Wire) -> None:
            await wire.read_some(65536)
            await getattr(wire, then)()

        return script

    return behaviour


def bad_certificate(which: str) -> Fault:
    return Fault(
        words=f"shows a certificate {which}" if which.startswith("of") else f"shows an {which} certificate",
        upstream=is_told_nothing,
        client=asks,
        sees=OURS,
        record=unanswered("certificate"),
        certificate=which,
    )


HANDSHAKES = [
    bad_certificate("of an unknown authority"),
    bad_certificate("of another host"),
    bad_certificate("expired"),
    no_tls("closes instead of a TLS handshake", "closed", after_a_hello("close")),
    no_tls("resets instead of a TLS handshake", "reset", after_a_hello("reset")),
    no_tls("answers in plain text where TLS is spoken", "tls", says(whole(b"no TLS here"), after="nothing")),
]

# ---- no answer


def failing(words: str, kind: str, upstream: Behaviour) -> Fault:
    return Fault(words=words, upstream=upstream, client=asks, sees=OURS, record=unanswered(kind))


def closes_when_reused(meeting: Meeting) -> Script:
    """Answer the first request on a connection, close at the second."""

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(whole(b"{}"))
        await take(meeting, wire)

    return script


async def asks_twice(client: Client) -> Seen:
    """Another request first, on the same connection."""
    await client.wire.send(request("GET", f"{client.target}&first", client.host))
    await AnswerReader(client.wire, method="GET").run()
    return await asks(client)


UNASKED = head("101 Switching Protocols", "Upgrade: websocket", "Connection: upgrade")
NO_ANSWER = [
    failing("closes instead of an answer", "closed", says(then="closes")),
    failing("resets instead of an answer", "reset", says(then="resets")),
    failing("closes in the head of its answer", "closed", says(STREAM[:30], then="closes")),
    failing("resets in the head of its answer", "reset", says(STREAM[:30], then="resets")),
    failing("answers with garbage", "protocol", says(bytes(range(256)) * 4)),
    failing("answers in another protocol", "protocol", says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
    failing("answers with an over-long head", "protocol", says(STREAM[:-2] + b"X-Long: " + b"x" * 70_000)),
    failing("changes the protocol unasked", "protocol", says(UNASKED)),
    Fault(
        words="closes a connection that was kept, at its next request: not repeated",
        upstream=closes_when_reused,
        client=asks_twice,
        sees="its connection closed",
        record="`upstream_error` (closed); request whole; no response",
    ),
]

# ---- half an answer


def breaking(words: str, kind: str, upstream: Behaviour, *, sees: str, response: str = SOME) -> Fault:
    return Fault(words=words, upstream=upstream, client=asks, sees=sees, record=cut(kind, response))


HALF_EVENT = STREAM + chunk(BEGUN) + chunk(EVENTS[4])[:-10]
CUT = "200 and 4 events, then a close"
MALFORMED = b" 5\r\nwrong\r\n"
HALF = [
    breaking("closes between two chunks", "closed", says(STREAM + chunk(BEGUN), BEGUN, then="closes"), sees=CUT),
    breaking(
        "resets between two chunks", "reset", says(STREAM + chunk(BEGUN), BEGUN, then="resets when seen"), sees=CUT
    ),
    breaking(
        "closes in a chunk",
        "closed",
        says(HALF_EVENT, BEGUN + EVENTS[4][:-8], then="closes"),
        sees="200 and 5 events, then a close",
    ),
    breaking(
        "closes before the last chunk",
        "closed",
        says(STREAM + chunk(WHOLE), WHOLE, then="closes"),
        sees="200 and 10 events, then a close",
        response="response 200 partial; usage 25 in, 5 out",
    ),
    breaking(
        "closes before its Content-Length is reached",
        "closed",
        says(whole(ANSWER)[:-10], ANSWER[:-10], then="closes"),
        sees="200, then a close",
        response="response 200 partial",
    ),
    breaking(
        "closes right after the head",
        "closed",
        says(STREAM, then="closes"),
        sees="200, then a close",
        response="response 200 partial, no byte of it",
    ),
    breaking(
        "resets an answer that ends with the connection",
        "reset",
        says(head() + ANSWER[:-10], ANSWER[:-10], then="resets when seen"),
        sees="200, then a reset",
        response="response 200 partial",
    ),
    breaking(
        "sends a malformed chunk in the same segment as the head",
        "protocol",
        says(STREAM + chunk(BEGUN) + MALFORMED, BEGUN),
        sees=CUT,
    ),
    breaking("sends a malformed chunk later", "protocol", says([STREAM + chunk(BEGUN), MALFORMED], BEGUN), sees=CUT),
]

# ---- an answer at an odd time


def answers_without_continue(meeting: Meeting) -> Script:
    """Say nothing to an expectation; the body comes in the end, as RFC 9110, 10.1.1 has it."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        meeting.reached.set()
        while len(meeting.got) < len(meeting.body):
            meeting.got += await wire.read_some(65536)
        meeting.answer = ANSWER
        await wire.send(whole(ANSWER))
        await see_gone(meeting, wire)

    return script


async def expects(client: Client) -> Seen:
    """Send the head, wait as long as it takes to be clear that nothing comes, then the body."""
    await client.wire.send(client.head)
    await client.meeting.reached.wait()
    await client.wire.send(client.meeting.body)
    return await client.reader().run()


def answers_early(data: bytes, *, reads_on: bool) -> Behaviour:
    """Answer when the head is there."""

    def behaviour(meeting: Meeting) -> Script:
        async def script(wire: Wire) -> None:
            await wire.read_head()
            meeting.answer = ANSWER
            await wire.send(data)
            if reads_on:
                await see_gone(meeting, wire)
            else:  # to close at once would be a reset, which may overtake the answer
                await meeting.seen.wait()

        return script

    return behaviour


async def sends_all_the_same(client: Client) -> Seen:
    """Read the answer, then send the rest of the body."""
    await client.wire.send(client.request[:-20])
    seen = await client.reader().run()
    await client.wire.send(client.request[-20:])
    return seen


REFUSED = "413 Request Entity Too Large"
EARLY = "`complete`; request partial; response 413 whole"
ODD_TIMES = [
    Fault(
        words="never sends the 100 that the client expects; the client sends its body all the same",
        upstream=answers_without_continue,
        client=expects,
        fields="Expect: 100-continue\r\n",
        sees="200",
        record=COMPLETE,
    ),
    Fault(
        words="sends a 100 and a 103 before its answer",
        upstream=says(head("100 Continue") + head("103 Early Hints") + whole(ANSWER), ANSWER),
        client=asks,
        sees="100, then 103, then 200",
        record=COMPLETE,
    ),
    Fault(
        words="answers while the body is being sent, and takes no more of it",
        upstream=answers_early(whole(ANSWER, REFUSED), reads_on=False),
        client=asks,
        body=LARGE,
        sees="413",
        record=EARLY,
    ),
    Fault(
        words="answers while the body is being sent, and says that it closes",
        upstream=answers_early(whole(ANSWER, REFUSED, "Connection: close"), reads_on=False),
        client=asks,
        body=LARGE,
        sees="413",
        record=EARLY,
    ),
    Fault(
        words="answers before the body is sent, which then comes to its end",
        upstream=answers_early(whole(ANSWER, REFUSED), reads_on=True),
        client=sends_all_the_same,
        sees="413",
        record="`complete`; request whole; response 413 whole",
    ),
    Fault(
        words="sends bytes after its answer",
        upstream=says(whole(ANSWER) + whole(b"evil"), ANSWER),
        client=asks,
        sees="200",
        record=COMPLETE,
    ),
]

# ---- a whole answer that is an error

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}


def refusing(status: int, error: str) -> Fault:
    body = json.dumps({"type": "error", "error": {"type": error, "message": "No."}}).encode()
    return Fault(
        words=f"answers {status} with a body",
        upstream=says(whole(body, f"{status} No"), body),
        client=asks,
        sees=str(status),
        record=f"`complete`; request whole; response {status} whole; error `{error}`",
    )


LATE = BEGUN + event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
WORDS = [
    *(refusing(status, error) for status, error in ERRORS.items()),
    Fault(
        words="sends `event: error` inside a 200 stream",
        upstream=says(STREAM + chunk(LATE) + LAST_CHUNK, LATE),
        client=asks,
        sees="200",
        record=f"{COMPLETE}; error `overloaded_error`; usage 25 in, 1 out",
    ),
]


@pytest.mark.parametrize(("fault", "mode"), each([*HANDSHAKES, *NO_ANSWER]), ids=named)
async def test_an_upstream_without_an_answer_is_a_502_and_a_record(fault: Fault, mode: str, scene: Scene) -> None:
    await drive(fault, mode, "Upstream", scene)


@pytest.mark.parametrize(("fault", "mode"), each(HALF), ids=named)
async def test_an_answer_that_breaks_off_is_passed_on_and_kept_as_far_as_it_came(
    fault: Fault, mode: str, scene: Scene
) -> None:
    await drive(fault, mode, "Upstream", scene)


@pytest.mark.parametrize(("fault", "mode"), each([*ODD_TIMES, *WORDS]), ids=named)
async def test_an_unusual_answer_is_an_answer(fault: Fault, mode: str, scene: Scene) -> None:
    await drive(fault, mode, "Upstream", scene)
