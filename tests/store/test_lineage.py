"""What a request follows, repeats and was started by."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from claudeproxy.model import AgentCall, Answer, Identity, State
from claudeproxy.store.migrations import MIGRATIONS
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import Lineage
from tests.store.exchanges import exchange, in_flight, response
from tests.store.explaining import count, explain
from tests.store.older import before_lots

MAIN = Identity(session_id="s", request_class="main", model="m")


def body(*texts: object, **more: object) -> bytes:
    """A conversation: user and assistant in turn; a text alone is a bare string, a list its blocks."""
    messages = [{"role": ("user", "assistant")[index % 2], "content": one} for index, one in enumerate(texts)]
    return json.dumps({"model": "m", **more, "messages": messages}).encode()


def text(words: str, **more: object) -> dict[str, object]:
    return {"type": "text", "text": words, **more}


class Sender:
    """Sends requests one after another and explains each."""

    def __init__(self, storage: CaptureStorage) -> None:
        self.storage = storage
        self.sent = 0

    def send(self, request: bytes, identity: Identity = MAIN, **changes: object) -> str:
        made = exchange(self.sent, request, **changes)
        self.sent += 1
        (request_id,) = self.storage.record([made], {})
        self.explain(request_id, request, identity)
        return request_id

    def explain(self, request_id: str, request: bytes, identity: Identity = MAIN) -> None:
        result = explain(request, identity=identity)
        self.storage.save_attribution(request_id, result, count(result), rules_version="1")

    def of(self, request_id: str) -> Lineage:
        return self.storage.get_request(request_id).lineage


@pytest.fixture
def sender(storage: CaptureStorage) -> Sender:
    return Sender(storage)


# --- predecessors --------------------------------------------------------------------------------------------------


def test_a_turn_follows_the_request_that_it_goes_on_from(sender):
    """Whichever came last: the longest beginning counts."""
    first = sender.send(body("a"))
    second = sender.send(body("a", "b", "c"))
    branch = sender.send(body("a", "x", "y"))
    third = sender.send(body("a", "b", "c", "d", "e"))
    found = [sender.of(one).parent_request_id for one in (first, second, branch, third)]
    assert found == [None, first, first, second]


def test_bytes_do_not_decide_who_is_a_relative(sender):
    """Breakpoints move, strings become lists, tools are loaded, the system prompt changes."""
    billing = "x-anthropic-billing-header: cch={};"
    first = sender.send(
        body([text("a", cache_control={"type": "ephemeral"})], system=[text(billing.format(1)), text("be kind")])
    )
    second = sender.send(body("a", [text("b")], "c", system=[text(billing.format(2)), text("be quick")]))
    third = sender.send(body("a", "b", [text("c")], "d", "e", tools=[{"name": "Read"}]))
    assert sender.of(second).parent_request_id == first
    assert sender.of(third).parent_request_id == second


def test_agents_of_a_session_are_apart(sender):
    """Two agents asked the same have nothing to do with each other."""
    one = sender.send(body("a"), replace(MAIN, agent_id="1"))
    sender.send(body("a"), replace(MAIN, agent_id="2"))
    next_of_one = sender.send(body("a", "b", "c"), replace(MAIN, agent_id="1"))
    assert sender.of(next_of_one).parent_request_id == one


def test_another_sessions_request_is_followed_only_beyond_an_answer(sender):
    """A fork shares answers; two sessions that begin with the same words share nothing."""
    first = sender.send(body("a", "b", "c"))
    fork = sender.send(body("a", "b", "c", "d", "e"), replace(MAIN, session_id="fork"))
    sender.send(body("hello"))
    apart = sender.send(body("hello", "b", "c"), replace(MAIN, session_id="other"))
    assert sender.of(fork).parent_request_id == first
    assert sender.of(apart).parent_request_id is None


def test_what_was_written_anew_follows_the_request_that_the_client_names(sender):
    """After a compaction nothing is left of the conversation but the id of its last answer."""
    first = sender.send(body("a"))  # answered by msg_00000000
    summary = sender.send(body("what happened so far"), replace(MAIN, previous_message_id="msg_00000000"))
    assert sender.of(summary).parent_request_id == first


def test_side_calls_and_counts_are_nobodys_predecessor(sender):
    for number, kind in enumerate(("auxiliary", "count_tokens")):
        sender.send(body(f"a{number}"), replace(MAIN, request_class=kind))
        found = sender.of(sender.send(body(f"a{number}", "b", "c")))
        assert found.parent_request_id is None
        assert found.turn_index == number + 1


def test_applications_without_sessions_are_told_apart_by_their_key(sender):
    unknown = Identity(request_class="other", model="m")
    first = sender.send(body("a"), unknown)
    other = sender.send(body("a", "b", "c"), unknown, api_key_hash="ffff")
    mine = sender.send(body("a", "b", "c"), unknown)
    assert [sender.of(one).parent_request_id for one in (other, mine)] == [None, first]
    assert [sender.of(one).turn_index for one in (first, other, mine)] == [1, 1, 2]


# --- retries -------------------------------------------------------------------------------------------------------

FAILURES = [
    {"state": State.CUT_BY_UPSTREAM},
    {"state": State.UPSTREAM_ERROR, "response": None},
    {"state": State.ABORTED_BY_CLIENT},
    {"response": response(status_code=529)},
    {"response": response(answer=Answer(error_type="overloaded_error", streamed=True))},
]


@pytest.mark.parametrize("failure", FAILURES)
def test_the_same_context_after_a_failure_is_a_retry(sender, failure):
    """Of the first attempt, however often; turn and predecessor are those of the first."""
    before = sender.send(body("a"))
    tries = [sender.send(body("a", "b", "c"), **failure) for _ in range(3)]
    after = sender.send(body("a", "b", "c", "d", "e"))
    assert [sender.of(one).retry_of for one in tries] == [None, tries[0], tries[0]]
    assert [sender.of(one).turn_index for one in tries] == [2, 2, 2]
    assert {sender.of(one).parent_request_id for one in tries} == {before}
    assert sender.of(after) == Lineage(parent_request_id=tries[2], prompt_index=1, turn_index=3)


def test_the_billing_header_does_not_make_another_request(sender):
    system = [[text(f"x-anthropic-billing-header: cch={n};")] for n in range(2)]
    first = sender.send(body("a", system=system[0]), state=State.CUT_BY_UPSTREAM)
    assert sender.of(sender.send(body("a", system=system[1]))).retry_of == first


def test_a_body_that_cannot_be_cut_is_known_by_its_hash(sender):
    first = sender.send(b'{"model":"m"}', state=State.CUT_BY_UPSTREAM)
    assert sender.of(sender.send(b'{"model":"m" }')).retry_of is None
    assert sender.of(sender.send(b'{"model":"m"}')).retry_of == first


def test_the_same_again_after_an_answer_is_no_retry(sender):
    """Unless the client's own counter says so: it may have given up waiting."""
    first = sender.send(body("a"))
    assert sender.of(sender.send(body("a"))).retry_of is None
    assert sender.of(sender.send(body("a"), replace(MAIN, retry_count=1))).retry_of is not None
    assert sender.of(first).retry_of is None


@pytest.mark.parametrize(
    "other",
    [
        {"session_id": "t"},
        {"agent_id": "1"},
        {"model": "n"},
    ],
)
def test_somebody_elses_failure_is_not_retried(sender, other):
    sender.send(body("a"), state=State.CUT_BY_UPSTREAM)
    assert sender.of(sender.send(body("a"), replace(MAIN, **other))).retry_of is None


def test_counting_the_same_words_is_no_retry(sender):
    count_url = "https://api.anthropic.com/v1/messages/count_tokens"
    sender.send(body("a"), url=count_url, state=State.CUT_BY_UPSTREAM)
    assert sender.of(sender.send(body("a"))).retry_of is None


def test_the_same_job_tomorrow_is_no_retry(sender):
    sender.send(body("a"), state=State.CUT_BY_UPSTREAM)
    sender.sent += 3601
    assert sender.of(sender.send(body("a"))).retry_of is None


# --- turns and prompts ---------------------------------------------------------------------------------------------


def test_turns_and_prompts_are_counted_within_session_and_agent(sender):
    asks = replace(MAIN, begins_prompt=True)
    agent = replace(asks, agent_id="1", request_class="subagent")
    found = [
        sender.of(sender.send(body("a"), asks)),
        sender.of(sender.send(body("a", "b", "c"))),
        sender.of(sender.send(body("task"), agent)),
        sender.of(sender.send(body("title?"), replace(MAIN, request_class="auxiliary"))),
        sender.of(sender.send(body("a", "b", "c", "d", "e"), asks)),
        sender.of(sender.send(body("summary"), asks)),
    ]
    numbers = [(one.prompt_index, one.turn_index) for one in found]
    assert numbers == [(1, 1), (1, 2), (1, 1), (None, None), (2, 3), (3, 4)]


# --- repeatable ----------------------------------------------------------------------------------------------------

_DERIVED = "retry_of = NULL, predecessor = NULL, prompt_index = NULL, turn_index = NULL, chain = NULL, rules = NULL"


def test_deleting_and_deriving_again_gives_the_same(sender):
    requests = [body("a"), body("a", "b", "c"), body("a", "b", "c"), body("a", "b", "c", "d", "e")]
    states = [State.COMPLETE, State.CUT_BY_UPSTREAM, State.COMPLETE, State.COMPLETE]
    ids = [sender.send(one, state=state) for one, state in zip(requests, states, strict=True)]
    before = [sender.storage.get_request(one) for one in ids]
    sender.storage._connection.execute(f"UPDATE requests SET {_DERIVED}")
    assert sender.of(ids[3]) == Lineage()
    for request_id, request in zip(ids, requests, strict=True):
        sender.explain(request_id, request)
    assert [sender.storage.get_request(one) for one in ids] == before


def test_an_earlier_request_that_came_late_is_found_at_the_end(sender):
    """Two relays record side by side."""
    earlier, later = exchange(0, body("a")), exchange(1, body("a", "b", "c"))
    (later_id,) = sender.storage.record([in_flight(1, body("a", "b", "c"))], {})
    sender.explain(later_id, body("a", "b", "c"))
    assert sender.of(later_id).parent_request_id is None
    (earlier_id,) = sender.storage.record([earlier], {})
    sender.explain(earlier_id, body("a"))
    sender.storage.record([later], {})
    sender.storage.settle(later_id, rules_version="1")
    assert sender.of(later_id) == Lineage(parent_request_id=earlier_id, prompt_index=1, turn_index=2)


def test_deleting_a_request_unties_its_relatives(sender):
    first = sender.send(body("a"))
    second = sender.send(body("a", "b", "c"))
    sender.storage._connection.execute("DELETE FROM requests WHERE id = ?", (first,))
    assert sender.of(second).parent_request_id is None
    assert sender.of(second).turn_index == 2


def test_a_database_of_the_first_version_gets_its_chains(database, monkeypatch):
    """Requests captured before are the predecessors of those captured after."""
    with monkeypatch.context() as patched:
        patched.setattr("claudeproxy.store.migrations.MIGRATIONS", MIGRATIONS[:1])
        patched.setattr("claudeproxy.store.database.MIGRATIONS", MIGRATIONS[:1])
        CaptureStorage(database).close()
    with CaptureStorage(database) as storage:
        sender = Sender(storage)
        system = [text("x-anthropic-billing-header: 1")]
        sender.send(body("a", [text("b"), text("c")], "d", system=system, tools=[{"name": "t"}]))
        run = storage._connection.execute
        before = [row[0] for row in run("SELECT chain FROM nodes ORDER BY id")]
        run("UPDATE nodes SET chain = NULL")
        before_lots(storage)
        MIGRATIONS[1].then(storage._connection)
        assert [row[0] for row in run("SELECT chain FROM nodes ORDER BY id")] == before
        assert [chain is None for chain in before] == [True, True, True, False, False, False, False]


# --- calls that start agents ---------------------------------------------------------------------------------------


def answer(*content: object) -> Answer:
    return Answer(message={"type": "message", "content": list(content)}, message_id="msg_9")


def call(prompt: object, name: str = "Task", **more: object) -> dict[str, object]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": {"prompt": prompt, **more}}


@pytest.mark.parametrize("name", ["Task", "Agent"])
def test_a_call_is_found_by_session_and_prompt(sender, name):
    """By requests after the one that made it, with the name that it gave."""
    made = response(answer=answer(text("I ask."), call("find it", name, subagent_type="botanist")))
    sender.send(body("a"), replace(MAIN, agent_id="1"), response=made)
    before = exchange(1).instants.request_initiated
    find = sender.storage.agent_call
    assert find("s", "find it", before=before) == AgentCall(id="toolu_1", agent_type="botanist", parent_agent_id="1")
    assert find("s", "find", before=before) is None
    assert find("t", "find it", before=before) is None
    assert find("s", "find it", before=exchange(0).instants.request_initiated) is None


def test_the_latest_of_two_equal_calls_counts(sender):
    for kind in ("first", "second"):
        sender.send(body("a"), response=response(answer=answer(call("find it", subagent_type=kind))))
    found = sender.storage.agent_call("s", "find it", before=exchange(9).instants.request_initiated)
    assert found is not None
    assert found.agent_type == "second"


@pytest.mark.parametrize(
    "content",
    [
        [call(7)],
        [call("find it", "Bash")],
        [{"type": "tool_use", "name": "Task", "input": {"prompt": "find it"}}],
        [{"type": "tool_use", "id": "t", "name": "Task", "input": "find it"}],
        [{"type": "tool_use", "id": "t", "name": ["Task"], "input": {"prompt": "find it"}}],
        ["text", None, 7],
    ],
)
def test_what_is_no_call_of_an_agent_is_not_kept(sender, content):
    sender.send(body("a"), response=response(answer=answer(*content)))
    assert sender.storage._connection.execute("SELECT count(*) FROM agent_calls").fetchone()[0] == 0


def test_only_the_hash_of_a_prompt_is_kept(sender):
    sender.send(body("a"), response=response(answer=answer(call("find \ud800"))))
    (row,) = sender.storage._connection.execute("SELECT agent_type, prompt_hash FROM agent_calls").fetchall()
    assert tuple(row) == (None, sha256("find \ud800".encode("utf-8", "surrogatepass")).digest())
