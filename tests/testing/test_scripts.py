"""Scripts choose answers by rule and by order."""

from __future__ import annotations

import json

import pytest

from claudeproxy.testing import NoReplyError, ReceivedRequest, Replies, has_result, has_tools, says, text, tool_use


def request(content: object, number: int = 1, **members: object) -> ReceivedRequest:
    body = {"messages": [{"role": "user", "content": content}], **members}
    return ReceivedRequest(
        number=number,
        connection=1,
        raw_head=b"",
        method="POST",
        target="/v1/messages?beta=true",
        http_version="1.1",
        headers=(),
        body=json.dumps(body).encode(),
    )


def test_plain_answers_come_in_order_and_then_there_are_none() -> None:
    replies = Replies([text("one"), text("two")])
    assert [replies(request("a")), replies(request("b"))] == [text("one"), text("two")]
    with pytest.raises(NoReplyError, match=r"request 3: POST /v1/messages.*'third'"):
        replies(request("third", 3))
    assert "2/2" in repr(replies)


def test_a_rule_comes_before_plain_answers_and_may_be_used_up() -> None:
    replies = Replies([text("plain")]).on(says("weather"), text("sunny"), times=1)
    weather = request([{"type": "text", "text": "earlier"}, {"type": "text", "text": "the weather?"}])
    assert replies(weather) == text("sunny")
    assert replies(weather) == text("plain")


def test_rules_can_ask_for_tools_and_for_results() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "42"}, {"type": "image"}],
    }
    replies = Replies().on(has_result("t1"), text("got it")).on(has_tools, tool_use("Bash", {"command": "date"}))
    answered = request([result, {"type": "tool_result", "tool_use_id": "t2", "content": "plain"}])
    assert replies(answered) == text("got it")
    assert answered.tool_results == {"t1": '42\n{"type": "image"}', "t2": "plain"}
    assert replies(request("go", tools=[{"name": "Bash"}])) == tool_use("Bash", {"command": "date"})


def test_a_request_without_a_user_message_has_no_prompt_and_no_results() -> None:
    empty = request(None)
    assert (empty.prompt, empty.tool_results) == ("", {})
    assert request([]).prompt == ""
    other = ReceivedRequest(
        number=1, connection=1, raw_head=b"", method="GET", target="/", http_version="1.1", headers=(), body=b""
    )
    assert other.prompt == ""
