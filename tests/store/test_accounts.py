"""Numbers that add up: any sequence of conversations, retries, cuts, compactions, models and restarts."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.accounting.prices import PriceBook
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.model import NO_BILL, Accuracy, Answer, State, Usage
from claudeproxy.store.aggregates import SourceAggregates
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.accounting.billing import MODEL, Conversation, text, to_body
from tests.store.accounting import Recorder, check_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

THOUGHT = {"type": "thinking", "thinking": text(9, 30), "signature": "s" * 40}
CALL = {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "a.py"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": text(8, 40)}
OVERLOADED = Answer(error_type="overloaded_error")


class World:
    """One conversation with all that may happen to it; `settled` holds what must not change any more."""

    def __init__(self, directory: Path, model: str) -> None:
        self.storage = CaptureStorage(directory / "captures.db")
        self.storage._connection.execute("PRAGMA synchronous = OFF")
        self.recorder = Recorder(self.storage)
        self.conversation = Conversation(model=model)
        self.settled: dict[str, tuple[object, ...]] = {}
        self.open: list[tuple[int, bytes, Usage, Answer]] = []

    def ended(self, request_id: str, billed: int | None) -> None:
        check_sums(self.storage, request_id, billed)
        self.settled[request_id] = self.state(request_id)

    def state(self, request_id: str) -> tuple[object, ...]:
        request = self.storage.get_request(request_id)
        return request.total_tokens, request.cost, [p.token_count for p in self.storage.attributions(request_id)]

    def billed(self, body: bytes, *content: dict[str, object], **more: object) -> None:
        usage, answer = self.conversation.answer(body, *content)
        self.ended(self.recorder.send(body, usage, answer, **more), usage.prompt_tokens)

    # --- what may happen ------------------------------------------------------------------------------------

    def turn(self) -> None:
        self.billed(self.conversation.say())

    def tool_loop(self) -> None:
        self.billed(self.conversation.say(), THOUGHT, CALL)
        self.billed(self.conversation.say(RESULT))

    def in_flight(self) -> None:
        body = self.conversation.say()
        number = self.recorder.begin(body)
        check_sums(self.storage, self.id_of(number))
        self.open.append((number, body, *self.conversation.answer(body)))

    def arrives(self) -> None:
        if self.open:
            number, body, usage, answer = self.open.pop(0)
            self.ended(self.recorder.end(number, body, usage, answer), usage.prompt_tokens)

    def retry(self) -> None:
        body = self.conversation.say()
        number = self.recorder.begin(body)
        self.ended(self.recorder.end(number, body, None, OVERLOADED, status=529), None)
        self.billed(body)

    def cut(self) -> None:
        """The bill is what `message_start` said; the client tries again."""
        body = self.conversation.say()
        usage, _ = self.conversation.answer(body)
        self.conversation.messages.pop()
        begun = replace(usage, output_tokens=1)
        partial = Answer(message={"type": "message", "content": []}, usage=begun)
        request = self.recorder.send(body, begun, partial, state=State.CUT_BY_UPSTREAM)
        self.ended(request, usage.prompt_tokens)
        self.billed(body)

    def compaction(self) -> None:
        self.conversation.messages.clear()
        self.billed(self.conversation.say({"type": "text", "text": text(77, 200)}))

    def new_tool(self) -> None:
        self.conversation.request["tools"].insert(0, {"name": f"T{self.recorder.sent}", "description": text(5, 30)})
        self.turn()

    def searched(self) -> None:
        """One bill for several prompts: settled, and nobody learns from it."""
        body = self.conversation.say()
        usage, answer = self.conversation.answer(body)
        usage = replace(usage, web_search_requests=2)
        self.ended(self.recorder.send(body, usage, answer), usage.prompt_tokens)

    def count(self) -> None:
        request = deepcopy(self.conversation.request)
        request["messages"] = [{"role": "user", "content": text(3)}]
        body = to_body(request)
        tokens = self.conversation.bill(body).total
        self.ended(
            self.recorder.send(body, Usage(input_tokens=tokens), Answer(), path="/v1/messages/count_tokens"), tokens
        )

    def other_model(self) -> None:
        body = self.conversation.say().replace(self.conversation.model.encode(), b"claude-haiku-4-5")
        self.billed(body)

    def restart(self) -> None:
        self.recorder.restart()

    def id_of(self, number: int) -> str:
        return str(self.storage._connection.execute("SELECT id FROM requests WHERE n = ?", (number + 1,)).fetchone()[0])


ACTIONS = (
    *("turn", "tool_loop", "in_flight", "arrives", "retry", "cut", "compaction", "new_tool", "searched", "count"),
    *("other_model", "restart"),
)


@settings(max_examples=10)
@given(st.lists(st.sampled_from(ACTIONS), max_size=10), st.sampled_from(["claude-haiku-4-5", "claude-opus-4-8"]))
def test_whatever_happens_everything_adds_up_to_the_bills(actions, model):
    """Pieces, sources, totals, money and the metrics; and what is settled stays."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), model)
        for action in actions:
            getattr(world, action)()
        for request_id, state in world.settled.items():
            assert world.state(request_id) == state
        run = world.storage._connection.execute
        cost = run("SELECT sum(cost), count(cost) FROM requests").fetchone()
        summary = SourceMetrics(world.storage).summary()
        assert summary.total_cost == cost[0]
        with world.storage.writing() as connection:
            assert SourceAggregates(connection).rebuild().corrected == 0
        world.storage.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, MODEL)
    yield made
    made.storage.close()


def test_in_flight_a_request_has_its_prediction_and_says_how_good_it_is(world):
    world.turn()
    number = world.recorder.begin(world.conversation.say())
    request = world.storage.get_request(world.id_of(number))
    assert request.accuracy is Accuracy.ESTIMATED
    assert 0 < request.expected_error < 0.2
    assert (request.cost, request.cost_note) == (None, None)
    check_sums(world.storage, request.id)


def test_without_a_bill_the_prediction_stays_and_the_reason_is_written_down(world):
    number = world.recorder.begin(body := world.conversation.say())
    predicted = world.storage.get_request(world.id_of(number)).total_tokens
    request_id = world.recorder.end(number, body, None, OVERLOADED, status=529)
    request = world.storage.get_request(request_id)
    assert (request.total_tokens, request.accuracy) == (predicted, Accuracy.ESTIMATED)
    assert request.cost_note.startswith("no bill")


def test_a_body_that_cannot_be_cut_says_as_well_why_it_has_no_cost(world):
    body = b'{"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": '
    number = world.recorder.begin(body)
    open_one = world.storage.get_request(world.id_of(number))
    assert (open_one.cost, open_one.cost_note) == (None, None)
    request = world.storage.get_request(world.recorder.end(number, body, None, OVERLOADED, status=400))
    assert request.total_tokens > 0
    assert (request.cost, request.cost_note) == (None, NO_BILL)
    assert world.storage.query_requests(RequestFilters()).rows[0].cost_note == NO_BILL


def test_the_cache_boundary_is_in_the_pieces(world):
    """What was read, what was written and what was neither, in this order."""
    for _ in range(3):
        world.turn()
    pieces = [p for p in world.storage.attributions(next(reversed(world.settled))) if p.token_count]
    order = [p.price_class for p in pieces if p.kind not in ("output", "tail", "preamble")]
    assert order == sorted(order, key=["read", "write_1h", "write_5m", "uncached"].index)
    assert {"read", "write_5m"} <= {*order}
    assert [p.price_class for p in pieces if p.kind in ("tail", "output")] == ["uncached", "output"]


def test_an_unknown_model_has_tokens_and_no_cost(tmp_path):
    world = World(tmp_path, "claude-unheard-9")
    world.turn()
    request = world.storage.get_request(next(iter(world.settled)))
    assert request.cost is None
    assert "price unknown" in request.cost_note
    assert {source.cost for source in world.storage.sources(request.id)} == {None}
    assert SourceMetrics(world.storage).summary().total_cost is None
    world.storage.close()


def test_prices_of_ones_own_are_applied_and_kept_with_the_record(world):
    world.turn()
    listed = next(iter(world.settled))
    own = {"models": "claude-*", "uncached": "7", "write_5m": "7", "write_1h": "7", "read": "7", "output": "7"}
    world.recorder.prices = PriceBook([own])
    world.recorder.restart()
    world.turn()
    request = world.storage.get_request(next(reversed(world.settled)))
    usage = world.storage.get_response(request.id).usage
    assert request.cost == 7_000_000 * (usage.prompt_tokens + usage.output_tokens)
    assert world.state(listed) == world.settled[listed]


def test_newer_rules_divide_a_settled_request_anew_and_its_numbers_stay(world):
    for _ in range(2):
        world.tool_loop()
    before = {request_id: world.storage.get_request(request_id) for request_id in world.settled}
    world.recorder.restart()
    world.recorder.explainer.engine.version = "newer"
    while waiting := world.recorder.explainer.waiting(8):
        for request_id in waiting:
            world.recorder.explainer.explain_stored(request_id)
    for request_id, request in before.items():
        assert world.storage.get_request(request_id) == request
        check_sums(world.storage, request_id)


def test_a_rebuild_settles_everything_from_the_captures_again(world):
    """From the stored answers, in order: the same totals and costs, every sum as before."""
    for action in ("turn", "tool_loop", "turn", "new_tool", "turn"):
        getattr(world, action)()
    before = {request_id: world.storage.get_request(request_id) for request_id in world.settled}
    assert world.recorder.explainer.rebuild_accounts() == len(before)
    for request_id, request in before.items():
        after = world.storage.get_request(request_id)
        check_sums(world.storage, request_id)
        assert (after.total_tokens, after.cost) == (request.total_tokens, request.cost)
        assert after.accuracy is Accuracy.EXACT


def test_what_a_ledger_knows_survives_retention(world):
    for _ in range(4):
        world.turn()
    Retention(world.storage, pause=lambda _: None).delete_requests(RequestFilters(session_id="s"))
    run = world.storage._connection.execute
    assert [run(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("node_tokens", "accounts")] == [0, 0]
    world.recorder.restart()
    body = world.conversation.say()
    number = world.recorder.begin(body)
    usage, answer = world.conversation.answer(body)
    predicted = world.storage.get_request(world.id_of(number)).total_tokens
    assert abs(predicted - usage.prompt_tokens) <= 0.01 * usage.prompt_tokens
    world.recorder.end(number, body, usage, answer)


def test_a_body_that_cannot_be_cut_is_divided_by_size(world):
    usage = Usage(input_tokens=100, output_tokens=2)
    answer = Answer(message={"type": "message", "content": []}, stop_reason="end_turn")
    request_id = world.recorder.send(b'{"model":"claude-opus-4-8","messages":{}} trailing', usage, answer)
    check_sums(world.storage, request_id, 100)


def test_a_body_stored_whole_has_its_numbers_all_the_same(world, monkeypatch):
    monkeypatch.setattr("claudeproxy.store.writer.cut_body", lambda body: 1 / 0)
    world.turn()
    check_sums(world.storage, next(iter(world.settled)))
    assert world.storage.summary().stored_whole == 1


def test_an_error_of_the_books_costs_the_numbers_only(world, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RecursionError("the ledger went in circles")

    monkeypatch.setattr(world.recorder.explainer._books, "settle", broken)
    body = world.conversation.say()
    usage, answer = world.conversation.answer(body)
    with pytest.raises(AssertionError):  # the recorder of these tests wants no errors
        world.recorder.send(body, usage, answer)
    request = world.storage.query_requests(RequestFilters()).rows[0]
    assert world.storage.attributions(request.id)
    assert (request.accuracy, request.cost) == (Accuracy.ESTIMATED, None)


def test_a_turn_costs_the_numbers_of_its_new_blocks(world):
    """Nodes have their tokens once; requests have nothing but their bill. 200 turns: benchmarks/accounting.py."""
    for turn in range(60):
        if turn % 20 == 19:
            world.conversation.request["tools"].insert(0, {"name": f"T{turn}", "description": text(5, 30)})
        body = world.conversation.say({"type": "text", "text": text(turn, 30)})
        world.recorder.send(body, *world.conversation.answer(body, {"type": "text", "text": text(turn + 500, 20)}))
    run = world.storage._connection.execute
    tables = ("node_tokens", "accounts", "ledgers", "ledger_pages", "rates")
    marks = ", ".join("?" * len(tables))
    size = run(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({marks})", tables).fetchone()[0]
    assert size < 50_000  # of which 28,672 are pages that the tables begin with
    assert run("SELECT count(*), sum(ifnull(length(corrections), 0)) FROM accounts").fetchone()[:] == (60, 0)


@pytest.mark.parametrize("most", [0, 3, 7])
def test_what_is_remembered_of_nodes_is_bounded_and_may_be_forgotten_at_any_turn(world, monkeypatch, most):
    monkeypatch.setattr("claudeproxy.store.accounts.MAX_REMEMBERED", most)
    for _ in range(6):
        world.turn()  # its sums are checked
    numbers = world.storage._explanations._accounts
    assert len(numbers._latest) <= max(most, len(world.storage.attributions(list(world.settled)[-1])))


def thread_request(message: str | None, *content: dict[str, object]) -> bytes:
    thread = {"type": "create"} if message is None else {"type": "continue", "previous_message_id": message}
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [*content]}], "thread": thread}
    return to_body(body if message else {**body, "system": text(4, 20)})


def thread_answer(message: str, total: int) -> tuple[Usage, Answer]:
    content = {"type": "text", "text": text(6, 10)}
    said = {"type": "message", "id": message, "role": "assistant", "content": [content]}
    usage = Usage(input_tokens=total, cache_creation_input_tokens=0, cache_read_input_tokens=0, output_tokens=12)
    return usage, Answer(message=said, message_id=message, stop_reason="end_turn")


def test_a_thread_is_settled_on_its_whole_conversation(world):
    first = world.recorder.send(thread_request(None, {"type": "text", "text": text(1)}), *thread_answer("msg_0", 200))
    second = world.recorder.send(
        thread_request("msg_0", {"type": "text", "text": text(2)}), *thread_answer("msg_1", 320)
    )
    for request_id, total in ((first, 200), (second, 320)):
        check_sums(world.storage, request_id, total)
    labels = {one.source.label for one in world.storage.sources(second)}
    assert "Framework: unseen thread context" not in labels


def test_what_was_billed_of_a_thread_and_never_seen_is_said_so(world):
    body = thread_request("msg_elsewhere", {"type": "text", "text": text(2)})
    number = world.recorder.begin(body)
    request_id = world.recorder.end(number, body, *thread_answer("msg_1", 5_000))
    check_sums(world.storage, request_id, 5_000)
    found = {one.source.label: one for one in world.storage.sources(request_id)}
    assert found["Framework: unseen thread context"].token_count > 4_500
    assert found["Framework: unseen thread context"].cost > 0
