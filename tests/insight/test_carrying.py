from __future__ import annotations

import json
import random
from collections import defaultdict

import pytest

from claudeproxy.errors import NotFoundError
from claudeproxy.insight.carrying import Carrying
from claudeproxy.insight.carrying_values import Gone
from claudeproxy.model import SourceType, State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.client import Layout
from claudeproxy.testing.conversations import demo_conversation, long_conversation
from tests.insight.billed import KNOWN, Biller
from tests.support.work import calls

SESSION = "11111111-2222-4333-8444-555555555555"
HEADERS = (
    (b"user-agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"x-claude-code-session-id", SESSION.encode()),
    (b"x-claude-code-request-class", b"main"),
)
BREAK = {"type": "ephemeral", "ttl": "1h"}


MODEL = KNOWN.decode()


class Talk:
    """A conversation that a test leads by hand: tools, one system text, turns of user and assistant."""

    def __init__(self, storage, *, model=MODEL, headers=HEADERS):
        self.biller = Biller(storage)
        self.model, self.headers = model, headers
        self.tools = [_tool("Read"), _tool("mcp__docs__find")]
        self.messages: list[dict[str, object]] = []

    def body(self) -> bytes:
        *before, last = self.messages
        marked = {**last, "content": [*last["content"][:-1], {**last["content"][-1], "cache_control": BREAK}]}
        # As history a lone text is a string: the same text in another block.
        before = [
            {**one, "content": one["content"][0]["text"]}
            if one["role"] == "user" and len(one["content"]) == 1 and one["content"][0]["type"] == "text"
            else one
            for one in before
        ]
        system = [{"type": "text", "text": "You help. " * 60, "cache_control": BREAK}]
        request = {"model": self.model, "tools": self.tools, "system": system, "messages": [*before, marked]}
        return json.dumps(request, separators=(",", ":")).encode()

    def say(self, *blocks, answer="yes", headers=None, **changes):
        self.messages.append({"role": "user", "content": list(blocks)})
        return self.again(answer=answer, headers=headers, **changes)

    def again(self, *, answer="yes", headers=None, **changes):
        content = [{"type": "text", "text": answer}]
        request_id = self.biller.send(self.body(), headers or self.headers, content, **changes)
        if changes.get("state", State.COMPLETE) is State.COMPLETE:
            self.messages.append({"role": "assistant", "content": content})
        return request_id


def _tool(name):
    return {"name": name, "description": f"{name} does it well. " * 30, "input_schema": {"type": "object"}}


def text(words, times=40):
    return {"type": "text", "text": f"{words} " * times}


def result(call, words):
    return {"type": "tool_result", "tool_use_id": call, "content": f"{words} " * 60}


def cost_of(storage, session_id):
    return storage._connection.execute(
        "SELECT ifnull(sum(cost), 0) FROM requests WHERE session_id = ?", (session_id,)
    ).fetchone()[0]


def check(storage, session_id=SESSION):
    """Everything adds up: to the session's cost, and for each source to what its pieces cost in each request."""
    told = Carrying(storage).session(session_id)
    pieces = defaultdict(int)
    for (request_id,) in storage._connection.execute(
        "SELECT q.id FROM requests q JOIN accounts a ON a.request = q.n WHERE q.session_id = ? AND a.read IS NOT NULL",
        (session_id,),
    ):
        for piece in storage.attributions(request_id):
            pieces[piece.source] += piece.cost or 0
    carried = {one.source: one.fetched_cost + one.carried_cost for one in told.sources}
    output = {one.source: one.cost for one in told.output}
    assert carried.keys() & output.keys() == set()
    assert {source: cost for source, cost in (carried | output).items() if cost} == {
        source: cost for source, cost in pieces.items() if cost
    }
    assert sum(carried.values()) + sum(output.values()) == told.cost == cost_of(storage, session_id)
    assert sum(life.cost for life in told.lives) == sum(carried.values())
    return told


def life_of(told, **wanted):
    found = [life for life in told.lives if all(getattr(life, name) == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("layout", Layout)
def test_a_whole_session_adds_up(storage, layout):
    ids = Biller(storage).talk(demo_conversation(layout))
    told = check(storage, storage.get_request(ids[0]).identity.session_id)
    assert (told.requests, told.unbilled, told.unpriced, told.subscription) == (10, 0, 0, False)
    skill = next(one for one in told.sources if one.source.label == "Skill: press-labels")
    assert skill.carried_cost < skill.fetched_cost * skill.turns
    assert skill.fetched_tokens > 0
    agents = {life.agent_id for life in told.lives}
    assert len(agents) == 2


def test_a_piece_is_fetched_once_and_read_again_with_every_turn(storage):
    talk = Talk(storage)
    ids = [talk.say(text(f"word{n}")) for n in range(5)]
    told = check(storage)
    first = life_of(told, first_request=ids[0], kind="prompt", source=next(iter_users(told)))
    assert (first.requests, first.reads, first.writes, first.uncached) == (5, 4, 0, 0)
    assert (first.last_request, first.gone) == (ids[4], None)
    assert first.fetched_tokens == first.tokens
    assert first.carried_tokens == 4 * first.tokens
    assert first.fetched_cost == 20 * first.carried_cost // 4  # written for an hour at 2, read at 0.1
    (user,) = (one for one in told.sources if one.source.type is SourceType.USER)
    assert (user.lives, user.turns) == (5, 4)


def iter_users(told):
    return (one.source for one in told.sources if one.source.type is SourceType.USER)


def test_what_the_cache_forgot_is_written_again(storage):
    talk = Talk(storage)
    first = talk.say(text("alpha"))
    talk.say(text("beta"))
    talk.biller.pause(90)
    talk.say(text("gamma"))
    talk.say(text("delta"))
    told = check(storage)
    life = life_of(told, first_request=first, kind="prompt", source=next(iter_users(told)))
    assert (life.requests, life.reads, life.writes, life.rewrites) == (4, 2, 1, 1)


def test_a_tool_in_front_gives_the_history_no_new_lives(storage):
    """All of it is written again, and it is the same history."""
    talk = Talk(storage)
    first = talk.say(text("alpha"))
    talk.say(text("beta"))
    talk.tools.insert(0, _tool("Another"))
    later = talk.say(text("gamma"))
    told = check(storage)
    life = life_of(told, first_request=first, kind="prompt", source=next(iter_users(told)))
    assert (life.requests, life.reads, life.rewrites, life.last_request) == (3, 1, 1, later)
    assert life_of(told, first_request=later, kind="schema").requests == 1


def test_equal_texts_have_a_life_each(storage):
    talk = Talk(storage)
    ids = [talk.say(text("same")) for _ in range(3)]
    told = check(storage)
    users = [life for life in told.lives if life.source.type is SourceType.USER]
    assert sorted(life.requests for life in users) == [1, 2, 3]
    assert {life.first_request for life in users} == set(ids)
    assert len({life.text_hash for life in users}) == 1


def test_compaction_ends_lives(storage):
    talk = Talk(storage)
    talk.say(text("alpha"))
    last = talk.say(text("beta"))
    ask = {"type": "text", "text": "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools. Sum up."}
    compaction = talk.say(ask, headers=(*HEADERS[:2], (b"x-claude-code-request-class", b"compaction")))
    talk.messages = []
    talk.say(text("We had spoken of alpha and beta."))
    told = check(storage)
    users = [life for life in told.lives if life.source.type is SourceType.USER and life.first_request <= last]
    assert users
    ended = {life.gone for life in told.lives if life.last_request == compaction}
    assert ended == {Gone.COMPACTION}
    assert {life.gone for life in told.lives if life.kind == "schema"} == {None}


def test_what_the_client_leaves_out_is_gone(storage):
    talk = Talk(storage)
    first = talk.say(text("alpha"))
    talk.tools.pop()
    talk.say(text("beta"))
    told = check(storage)
    gone = life_of(told, first_request=first, last_request=first, kind="schema")
    assert gone.gone is Gone.DROPPED


def test_a_side_call_has_a_context_of_its_own(storage):
    """It ends no life of the conversation."""
    talk = Talk(storage)
    talk.say(text("alpha"))
    side = Talk(storage, headers=(*HEADERS[:2], (b"x-claude-code-request-class", b"auxiliary")))
    side.biller, side.tools = talk.biller, []
    side.say(text("Name this conversation."))
    told = check(storage)
    assert {life.gone for life in told.lives} == {None}


def test_attempts_are_paid_and_carried(storage):
    talk = Talk(storage)
    talk.say(text("alpha"))
    talk.say(text("beta"), state=State.CUT_BY_UPSTREAM)
    talk.again()
    told = check(storage)
    assert told.requests == 3


def test_what_has_no_bill_is_said_and_left_out(storage):
    talk = Talk(storage)
    talk.say(text("alpha"))
    talk.say(text("beta"), state=State.UPSTREAM_ERROR, answered=False)
    told = check(storage)
    assert (told.requests, told.unbilled) == (1, 1)


def test_without_prices_there_are_tokens(storage):
    talk = Talk(storage, model="claude-nobody-knows-9")
    for n in range(3):
        talk.say(text(f"word{n}"))
    told = Carrying(storage).session(SESSION)
    assert (told.requests, told.unpriced, told.cost) == (3, 3, 0)
    (user,) = (one for one in told.sources if one.source.type is SourceType.USER)
    assert (user.fetched_cost, user.carried_cost, user.turns) == (None, None, 2)
    assert user.fetched_tokens > 0
    assert user.carried_tokens > 0
    assert all(life.cost is None for life in told.lives if life.tokens)
    assert {one.cost for one in told.output} == {None}


def test_a_subscription_is_marked(storage):
    talk = Talk(storage, headers=(*HEADERS, (b"anthropic-beta", b"oauth-2025-04-20")))
    talk.say(text("alpha"))
    assert Carrying(storage).session(SESSION[:6]).subscription


def test_an_unknown_session_is_an_error(storage):
    with pytest.raises(NotFoundError, match="no session"):
        Carrying(storage).session("nobody")


@pytest.mark.parametrize("seed", range(12))
def test_it_adds_up_whatever_happens(storage, seed):
    """Pauses, new tools, lost tools, cuts, edits of the history, two models, switches of the conversation."""
    chance = random.Random(seed)
    talk = Talk(storage)
    talk.say(text("alpha"))
    for turn in range(14):
        match chance.randrange(9):
            case 0:
                talk.biller.pause(chance.choice([3, 7, 70]))
            case 1:
                talk.tools.insert(chance.randrange(len(talk.tools) + 1), _tool(f"mcp__extra__tool{turn}"))
            case 2 if len(talk.tools) > 1:
                talk.tools.pop(chance.randrange(len(talk.tools)))
            case 3:
                del talk.messages[: 2 * chance.randrange(3)]
            case 4:
                talk.model = chance.choice([MODEL, "claude-haiku-4-5"])
        state = chance.choice([State.COMPLETE] * 5 + [State.CUT_BY_UPSTREAM])
        blocks = [text(f"word{turn % 5}", chance.randrange(1, 80)) for _ in range(chance.randrange(1, 4))]
        talk.say(*blocks, answer=f"answer {turn} " * chance.randrange(1, 30), state=state)
        if state is not State.COMPLETE:
            talk.messages.pop()
    check(storage)


@pytest.mark.heavy
def test_four_times_the_turns_are_far_from_sixteen_times_the_work(tmp_path):
    """7.5 times when it was measured: every turn carries its history, but only what changed in it is looked at."""
    work = {}
    for turns in (50, 200):
        with CaptureStorage(tmp_path / f"{turns}.db") as storage:
            ids = Biller(storage).talk(long_conversation(turns))
            session_id = storage.get_request(ids[0]).identity.session_id
            carrying = Carrying(storage)
            work[turns] = calls(lambda session=session_id, of=carrying: of.session(session))
            assert carrying.session(session_id).cost == cost_of(storage, session_id)
    assert work[200] < 10 * work[50]
