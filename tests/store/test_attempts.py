"""Attempts at one request: all are kept, all that was paid is added up, and the context counts once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.model import Answer, State, Usage
from tests.accounting.billing import Conversation
from tests.store.accounting import Recorder

OVERLOADED = Answer(error_type="overloaded_error")


@pytest.fixture
def recorder(storage) -> Recorder:
    return Recorder(storage)


def user(storage):
    (found,) = [one for one in SourceMetrics(storage).sources() if one.source_type == "User"]
    return found.usage_count, found.total_tokens


def test_a_failed_attempt_counts_until_the_next_one_is_seen(recorder, storage):
    conversation = Conversation()
    body = conversation.say()
    failed = recorder.send(body, None, OVERLOADED, status=529)
    assert user(storage)[0] == 1
    usage, answer = conversation.answer(body)
    good = recorder.send(body, usage, answer)
    assert storage.get_request(good).lineage.retry_of == failed
    tokens = {s.source.label: s.token_count for s in storage.sources(good)}["User"]
    assert user(storage) == (1, tokens)
    summary = SourceMetrics(storage).summary()
    assert (summary.total_requests, summary.total_tokens_sent) == (2, usage.prompt_tokens)


def test_what_a_cut_attempt_cost_is_paid_all_the_same(recorder, storage):
    conversation = Conversation()
    body = conversation.say()
    usage, answer = conversation.answer(body)
    partial = Answer(message={"type": "message", "content": []})
    first = recorder.send(body, replace(usage, output_tokens=1), partial, state=State.CUT_BY_UPSTREAM)
    second = recorder.send(body, usage, answer)
    costs = [storage.get_request(one).cost for one in (first, second)]
    summary = SourceMetrics(storage).summary()
    assert summary.total_cost == sum(costs)
    assert min(costs) > 0
    assert summary.total_tokens_sent == usage.prompt_tokens
    assert user(storage)[0] == 1


def test_tokens_that_were_only_counted_are_no_context(recorder, storage):
    body = Conversation().say()
    counted = recorder.send(body, Usage(input_tokens=500), path="/v1/messages/count_tokens")
    request = storage.get_request(counted)
    assert request.identity.request_class == "count_tokens"
    assert (request.total_tokens, request.cost) == (500, None)
    assert SourceMetrics(storage).sources() == []
    assert SourceMetrics(storage).summary().total_tokens_sent == 0
