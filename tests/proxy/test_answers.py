"""What the proxy says itself looks like the API's own errors and says whom it is from."""

from __future__ import annotations

import json

import h11
import pytest

from claudeproxy.errors import ProtocolError, UpstreamLoopError
from claudeproxy.proxy.answers import (
    OwnAnswer,
    bad_gateway,
    bad_request,
    credentials_required,
    forbidden,
    head_timed_out,
)


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (bad_request(ProtocolError("no")), 400, "invalid_request_error"),
        (bad_request(ProtocolError("no", status_hint=431)), 431, "invalid_request_error"),
        (bad_request(ProtocolError("no", status_hint=200)), 400, "invalid_request_error"),
        (bad_request(ProtocolError("no", status_hint=501)), 501, "api_error"),
        (forbidden("no"), 403, "permission_error"),
        (credentials_required(), 407, "authentication_error"),
        (head_timed_out(), 408, "timeout_error"),
        (bad_gateway(UpstreamLoopError("round and round")), 502, "api_error"),
    ],
)
def test_an_answer_is_http_in_the_shape_of_the_api(answer: OwnAnswer, status: int, kind: str) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer.serialize())
    head, body = client.next_event(), client.next_event()
    assert isinstance(head, h11.Response)
    assert isinstance(body, h11.Data)
    assert head.status_code == status
    error = json.loads(bytes(body.data))
    assert error["type"] == "error"
    assert error["error"]["type"] == kind
    assert error["error"]["message"].startswith("claudeproxy: ")
    assert isinstance(client.next_event(), h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE


def test_an_answer_to_head_has_the_length_and_no_body() -> None:
    raw = forbidden("no").serialize(method="HEAD")
    assert raw.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in raw
