"""Stateful threads in the database: the whole is a path of nodes, and what was billed unseen is said to be so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution import AttributionEngine
from claudeproxy.attribution.threads import continued_message
from claudeproxy.errors import NotFoundError
from claudeproxy.model import Answer, Usage
from claudeproxy.sansio.messages import layout
from tests.store.exchanges import correlation, exchange, in_flight, response

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

BILLING = "x-anthropic-billing-header: cch={};"
HEADERS = ((b"user-agent", b"claude-cli/2.1.330 (external, cli)"), (b"x-claude-code-session-id", b"s"))
UNSEEN = "Framework: unseen thread context"


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def first(number: int = 0, **more: object) -> bytes:
    return dump(
        {
            "model": "m",
            "max_tokens": 9,
            "system": [
                {"type": "text", "text": BILLING.format(number)},
                {"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}},
            ],
            "tools": [{"name": "mcp__docs__find", "description": "Finds.", "input_schema": {}}],
            "messages": [{"role": "user", "content": "what is it?"}],
            "thread": {"type": "create"},
            **more,
        }
    )


def following(number: int, previous: str, *content: object, **more: object) -> bytes:
    return dump(
        {
            "model": "m",
            "max_tokens": 9,
            "system": [{"type": "text", "text": BILLING.format(number)}],
            "messages": [{"role": "user", "content": [*content]}],
            "thread": {"type": "continue", "previous_message_id": previous},
            **more,
        }
    )


def said(number: int, *content: object, billed: int = 0) -> Answer:
    message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "content": [*content]}
    return Answer(message=message, message_id=f"msg_{number}", usage=Usage(input_tokens=billed))


CALL = {"type": "tool_use", "id": "t1", "name": "mcp__docs__find", "input": {"word": "it"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "a gentian"}


class Client:
    """Sends requests and explains them as the recorder does."""

    def __init__(self, storage: CaptureStorage) -> None:
        self.storage = storage
        self.engine = AttributionEngine()
        self.sent = 0

    def send(self, body: bytes, answer: Answer) -> str:
        made = exchange(self.sent, body, headers=HEADERS, response=response(dump(answer.message), answer=answer))
        self.sent += 1
        (request_id,) = self.storage.record([made], {})
        self.explain(request_id, body)
        return request_id

    def explain(self, request_id: str, body: bytes) -> None:
        message = continued_message(body)
        past = self.storage.thread_history(message) if message else None
        history = {message: past.blocks} if message and past else None
        result = self.engine.analyze_request(body, headers=HEADERS, history=history)
        counts = [len(segment.text) for segment in result.segments()]
        complete = message is None or (past is not None and past.complete)
        self.storage.save_attribution(request_id, result, counts, rules_version=self.engine.version, complete=complete)

    def sources(self, request_id: str) -> dict[str, int]:
        return {total.source.label: total.token_count for total in self.storage.sources(request_id)}

    def count(self, table: str) -> int:
        return int(self.storage._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def client(storage: CaptureStorage) -> Client:
    return Client(storage)


def test_the_whole_conversation_is_attributed(client):
    """The request holds a result; what was billed are tools, system prompt, prompt, answer and result."""
    begun = client.send(first(), said(0, CALL))
    went_on = client.send(following(1, "msg_0", RESULT), said(1, {"type": "text", "text": "A gentian."}))
    found = client.storage.attributions(went_on)
    whole = [one for one in found if one.effective]
    assert {one.json_path.partition(".text")[0] for one in whole if one.source.label == "MCP: docs"} >= {
        "$.messages[1].content[0].input",
        "$.messages[2].content[0].content",
    }
    assert next(one.json_path for one in whole if one.message_index == -1) == "$.tools[0]"
    assert {one.json_path for one in found if not one.effective} >= {"$.max_tokens", "$.system[0].text"}
    request = client.storage.get_request(went_on)
    assert (request.effective, request.context_complete, request.identity.thread) == (True, True, "continue")
    assert request.total_tokens == sum(client.sources(went_on).values()) == sum(one.token_count for one in found)
    assert request.total_tokens > (client.storage.get_request(begun).total_tokens or 0)
    assert request.lineage.parent_request_id == begun
    assert not any(one.effective for one in client.storage.attributions(begun))


def test_the_body_stays_what_was_sent(client):
    body = following(1, "msg_0", RESULT)
    client.send(first(), said(0, CALL))
    went_on = client.send(body, said(1))
    assert client.storage.request_body(went_on) == body
    assert client.storage.verify().ok


def test_a_long_thread_stands_on_all_that_went_before(client):
    """Each turn adds nodes for its answer and its messages only; nothing is copied."""
    client.send(first(), said(0, {"type": "text", "text": "answer 0"}))
    grown = []
    for number in range(1, 8):
        before = client.count("blocks"), client.count("nodes")
        body = following(number, f"msg_{number - 1}", {"type": "text", "text": f"prompt {number}"})
        last = client.send(body, said(number, {"type": "text", "text": f"answer {number}"}))
        grown.append((client.count("blocks") - before[0], client.count("nodes") - before[1]))
    texts = [one.json_path for one in client.storage.attributions(last) if one.json_path.endswith(".text")]
    assert [path for path in texts if path.startswith("$.messages")][-1] == "$.messages[14].content[0].text"
    # its prompt and the answer before it; as nodes the two, and the prompt in the body as sent
    assert max(blocks for blocks, _ in grown[2:]) <= 2  # the first ones bring what skeletons share
    assert {nodes for _, nodes in grown[1:]} == {3}


def test_the_same_conversation_sent_whole_shares_the_nodes(client):
    """A client may stop using the thread: its next full request goes on where the thread was."""
    client.send(first(), said(0, {"type": "text", "text": "answer 0"}))
    went_on = client.send(following(1, "msg_0", {"type": "text", "text": "more"}), said(1))
    before = client.count("nodes")
    sent = json.loads(first(2))
    sent["messages"] += [
        {"role": "assistant", "content": [{"type": "text", "text": "answer 0"}]},
        {"role": "user", "content": [{"type": "text", "text": "more"}]},
        {"role": "assistant", "content": "and"},
    ]
    del sent["thread"]
    full = client.send(dump(sent), said(2))
    assert client.count("nodes") == before + 1
    assert client.storage.get_request(full).lineage.parent_request_id == went_on


def test_what_was_billed_and_never_seen_is_named(client):
    """The proxy was started in mid-conversation: the rest of the bill has no other name."""
    lost = client.send(following(1, "msg_gone", RESULT), said(1, CALL, billed=10_000))
    assert client.sources(lost)[UNSEEN] > 9_000
    request = client.storage.get_request(lost)
    assert (request.total_tokens, request.context_complete, request.effective) == (10_000, False, False)
    (unseen,) = [one for one in client.storage.attributions(lost) if one.source.label == UNSEEN]
    assert (unseen.json_path, unseen.kind, unseen.evidence) == ("$.thread", "unseen", "msg_gone")
    went_on = client.send(following(2, "msg_1", RESULT), said(2, billed=10_500))
    assert client.sources(went_on)[UNSEEN] > 9_000
    request = client.storage.get_request(went_on)
    assert (request.total_tokens, request.context_complete, request.effective) == (10_500, False, True)


def test_nothing_is_unseen_before_the_bill_says_so(client):
    """A request that is explained in flight is settled at its end."""
    body = following(0, "msg_gone", RESULT)
    (lost,) = client.storage.record([in_flight(0, body, headers=HEADERS)], {})
    client.explain(lost, body)
    assert UNSEEN not in client.sources(lost)
    seen = client.storage.get_request(lost).total_tokens
    answered = response(b"{}", answer=said(0, billed=5_000))
    client.storage.record([exchange(0, body, headers=HEADERS, response=answered)], {})
    for _ in range(2):
        client.storage.settle(lost, rules_version=client.engine.version)
        assert client.sources(lost)[UNSEEN] == 5_000 - (seen or 0)
        assert client.storage.get_request(lost).total_tokens == 5_000


def test_a_bill_below_what_was_seen_leaves_nothing_unseen(client):
    lost = client.send(following(1, "msg_gone", RESULT), said(1, billed=3))
    assert UNSEEN not in client.sources(lost)


def test_explaining_again_gives_the_same(client):
    """Also with the past in the database by now."""
    begun, went_on = first(), following(1, "msg_0", RESULT)
    ids = [client.send(begun, said(0, CALL)), client.send(went_on, said(1))]
    before = [client.storage.attributions(one) for one in ids]
    for request_id, body in zip(ids, (begun, went_on), strict=True):
        client.explain(request_id, body)
    assert [client.storage.attributions(one) for one in ids] == before


def test_a_message_that_was_never_seen_has_no_history(client):
    assert client.storage.thread_history("msg_0") is None
    client.send(first(), replace(said(0), message=None))
    assert client.storage.thread_history("msg_0") is None


def test_the_blocks_read_back_are_those_that_were_sent(client, monkeypatch):
    """Without breakpoints, and without the header that changes; also from memory, which is bounded."""
    monkeypatch.setattr("claudeproxy.store.threads.MAX_REMEMBERED_BYTES", 10)
    client.send(first(), said(0, CALL))
    for _ in range(2):
        found = client.storage.thread_history("msg_0")
        assert found is not None
        assert [json.loads(block.raw) for block in found.blocks] == [
            json.loads(first())["tools"][0],
            {"type": "text", "text": "be kind"},
            "what is it?",
            CALL,
        ]
    assert len(layout(first()).blocks) == len(found.blocks)


def test_only_what_exists_can_be_settled(client):
    with pytest.raises(NotFoundError):
        client.storage.settle(correlation(9), rules_version="1")
    (unexplained,) = client.storage.record([exchange(0, first())], {})
    client.storage.settle(unexplained, rules_version="1")
    assert client.storage.get_request(unexplained).lineage.turn_index is None
