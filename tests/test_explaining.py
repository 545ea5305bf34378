"""A stored capture is explained, or left as it is: nothing that it holds is an error of the caller's."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer
from claudeproxy.model import Accuracy, Answer
from claudeproxy.store.storage import CaptureStorage
from tests.accounting.billing import Conversation
from tests.accounting.billing import text as words
from tests.capture.support import Store as Kept
from tests.capture.support import make_tap, tell
from tests.store.accounting import JSON, Recorder, check_sums
from tests.store.exchanges import exchange, in_flight, response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CaptureStorage]:
    """Two captures, as a recorder puts them together."""
    tap, kept = make_tap(tmp_path / "journal"), Kept()
    for text in (b"first", b"second"):
        tell(tap, request=(BODY.replace(b"hello", text),))
    kept.recorder(tmp_path / "journal").step()
    with closing(CaptureStorage(tmp_path / "captures.db")) as made:
        made.record(list(kept.rows.values()), {})
        yield made


def test_what_waits_is_explained_once(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    assert len(explainer.waiting(1)) == 1
    for request_id in explainer.waiting(8):
        explainer.explain_stored(request_id)
        assert storage.sources(request_id)
    assert explainer.waiting(8) == []
    assert (explainer.attributed, explainer.errors) == (2, 0)


def test_a_row_that_cannot_be_read_is_left_alone(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as database:
        database.execute("UPDATE requests SET skeleton = x'00ff' WHERE n = 1")
    for request_id in explainer.waiting(8):
        explainer.explain_stored(request_id)
    assert explainer.waiting(8) == []
    assert explainer.attributed == 1


def test_a_row_that_was_deleted_meanwhile_is_no_error(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    explainer.explain_stored("00000000-0000-0000-0000-000000000000")
    explainer.settle("00000000-0000-0000-0000-000000000000", exchange(0, BODY))
    assert (explainer.attributed, explainer.errors) == (0, 0)


def test_an_end_that_was_stored_and_not_settled_is_settled_by_the_next_process(tmp_path: Path) -> None:
    """The recorder was killed between the two: the bill is in the database, and the numbers are still a prediction."""
    said = {"type": "message", "stop_reason": "end_turn", "usage": {"input_tokens": 21, "output_tokens": 3}}
    with closing(CaptureStorage(tmp_path / "captures.db")) as storage:
        recorder = Recorder(storage)
        number = recorder.begin(BODY)
        answer = response(json.dumps(said).encode(), number=number, headers=JSON)
        (request_id,) = storage.record([exchange(number, BODY, response=answer)], {})
        assert storage.is_attributed(request_id)
        following = Explainer(storage, AttributionEngine())
        assert following.waiting(8) == [request_id]
        following.explain_stored(request_id)
        assert following.waiting(8) == []
        check_sums(storage, request_id, 21)


def test_numbers_that_could_not_be_settled_wait_and_are_settled(tmp_path: Path) -> None:
    with closing(CaptureStorage(tmp_path / "captures.db", busy_timeout=0.01)) as storage:
        explainer = Explainer(storage, AttributionEngine())
        begun = in_flight(0, BODY)
        (request_id,) = storage.record([begun], {})
        explainer.explain(request_id, BODY, begun.headers, began=begun.instants.request_initiated, url=begun.url)
        assert explainer.waiting(8) == []
        ended = exchange(0, BODY, response=response(b"{}", answer=Answer()))
        storage.record([ended], {})
        with closing(sqlite3.connect(storage.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            explainer.settle(request_id, ended)
            other.execute("ROLLBACK")
        assert (explainer.errors, explainer.outdated) == (1, True)
        assert explainer.waiting(8) == [request_id]
        explainer.explain_stored(request_id)
        assert explainer.waiting(8) == []
        assert storage.get_request(request_id).accuracy is Accuracy.ESTIMATED
        assert storage.get_request(request_id).cost_note is not None


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 2**63 - 1, "cache_read_input_tokens": 2**63 - 1},
        {"input_tokens": 9, "output_tokens": 2**62},
        {"input_tokens": 9, "server_tool_use": {"web_search_requests": 2**63 - 1}},
        {"input_tokens": 9, "server_tool_use": {"\ud800": 1}},
        {"input_tokens": 9, "service_tier": "\ud800"},
    ],
)
def test_a_bill_that_no_api_writes_costs_no_attribution(tmp_path: Path, usage: dict[str, object]) -> None:
    said = {"type": "message", "model": "claude-sonnet-4-5", "stop_reason": "end_turn", "usage": usage}
    tap, kept = make_tap(tmp_path / "journal"), Kept()
    tell(tap, request=(BODY,), answer=(json.dumps(said).encode(),), response_headers=JSON)
    kept.recorder(tmp_path / "journal").step()
    with closing(CaptureStorage(tmp_path / "captures.db")) as storage:
        (request_id,) = storage.record(list(kept.rows.values()), {})
        explainer = Explainer(storage, AttributionEngine())
        explainer.explain_stored(request_id)
        assert (explainer.attributed, explainer.errors) == (1, 0)
        check_sums(storage, request_id)


# --- what one capture tells about another ----------------------------------------------------------------------------

IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
DOCS = (
    "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use them:\n\n"
    "## docs\nby-docs-1\n\nby-docs-2\n\n"
)
GIT = "gitStatus: This is the git status at the start of the conversation.\nMain"


def claude(system: str, url: str = "/v1/messages") -> tuple[bytes, str]:
    """A request of an old Claude Code."""
    system_blocks = [{"type": "text", "text": text} for text in (IDENTITY, system)]
    tools = [{"name": "mcp__docs__find", "input_schema": {}}]
    messages = [{"role": "user", "content": "go"}]
    return json.dumps({"tools": tools, "system": system_blocks, "messages": messages}).encode(), url


def record(storage: CaptureStorage, journal: Path, *requests: tuple[bytes, str]) -> None:
    tap, kept = make_tap(journal), Kept()
    for raw, url in requests:
        fields = ((b"User-Agent", b"claude-cli/2.0.76 (external, cli)"),)
        tell(tap, url=f"https://api.anthropic.com{url}", request_headers=fields, request=(raw,))
    kept.recorder(journal).step()
    storage.record(list(kept.rows.values()), {})


def owners_of(storage: CaptureStorage, request_id: str) -> list[str]:
    return [one.source.label for one in storage.attributions(request_id) if one.json_path.startswith("$.system")]


def test_a_later_capture_decides_an_earlier_one(storage: CaptureStorage, tmp_path: Path) -> None:
    """What the server says stood alone, a day after it was glued to the user's text."""
    engine = AttributionEngine(fingerprints={"2.0.76": frozenset({"0" * 16})})
    explainer = Explainer(storage, engine)
    record(storage, tmp_path / "first", claude(f"{DOCS}by-user-1\n\nby-user-2\n{GIT}"))
    for request_id in (waiting := explainer.waiting(8)):
        explainer.explain_stored(request_id)
    glued = next(one for one in waiting if "User" in owners_of(storage, one))
    assert "Framework: unclassified" in owners_of(storage, glued)
    assert not explainer.outdated
    record(storage, tmp_path / "second", claude(f"{DOCS}{GIT}"))
    (alone,) = explainer.waiting(8)
    explainer.explain_stored(alone)
    assert explainer.outdated
    assert explainer.waiting(8) == [glued]
    explainer.explain_stored(glued)
    assert "Framework: unclassified" not in owners_of(storage, glued)
    assert explainer.waiting(8) == []


def test_a_server_that_is_spelled_later_gets_the_tools_of_earlier_captures(
    storage: CaptureStorage, tmp_path: Path
) -> None:
    """An agent's request came first; the main conversation's has the instructions of `x__y`."""
    explainer = Explainer(storage, AttributionEngine())

    def request(*system: str) -> tuple[bytes, str]:
        blocks = [{"type": "text", "text": text} for text in (IDENTITY, *system)]
        tools = [{"name": "mcp__x__y__echo", "input_schema": {}}, {"name": "Read", "input_schema": {}}]
        tools = tools if system else tools[:1]
        messages = [{"role": "user", "content": "go"}]
        return json.dumps({"tools": tools, "system": blocks, "messages": messages}).encode(), "/v1/messages"

    def servers(request_id: str) -> set[tuple[str, float]]:
        found = storage.attributions(request_id)
        return {(one.source.label, one.confidence) for one in found if one.source.label.startswith("MCP: ")}

    record(storage, tmp_path / "first", request())
    for request_id in (waiting := explainer.waiting(8)):
        explainer.explain_stored(request_id)
    agents = next(one for one in waiting if servers(one))
    assert servers(agents) == {("MCP: y", 0.8)}
    record(storage, tmp_path / "second", request(DOCS.replace("docs", "x__y")))
    (main,) = explainer.waiting(8)
    explainer.explain_stored(main)
    assert explainer.outdated
    again = explainer.waiting(8)
    assert set(again) == {agents, main}  # both stand on the tool that was guessed
    for request_id in again:
        explainer.explain_stored(request_id)
    assert explainer.waiting(8) == []
    assert servers(main) == servers(agents) == {("MCP: x__y", 1.0)}


def test_the_path_tells_a_size_from_an_answer(storage: CaptureStorage, tmp_path: Path) -> None:
    """Also for captures that are explained from the database."""
    explainer = Explainer(storage, AttributionEngine())
    record(storage, tmp_path / "more", claude("x"), claude("y", "/v1/messages/count_tokens?beta=true"))
    for request_id in explainer.waiting(8):
        explainer.explain_stored(request_id)
    with closing(sqlite3.connect(storage.path)) as database:
        rows = database.execute("SELECT request_class FROM requests WHERE client = 'claude-cli' ORDER BY n").fetchall()
    assert [row[0] for row in rows] == ["main", "count_tokens"]


# --- two at once -----------------------------------------------------------------------------------------------------


def turns(recorder: Recorder, conversation: Conversation, number: int) -> dict[str, int]:
    """Send some; return what each was billed."""
    billed = {}
    for _ in range(number):
        body = conversation.say({"type": "text", "text": words(conversation.turn, 40)}, {"type": "text", "text": "and"})
        usage, answer = conversation.answer(body, {"type": "text", "text": words(conversation.turn + 50, 30)})
        billed[recorder.send(body, usage, answer)] = usage.prompt_tokens or 0
    return billed


def ledger_of(storage: CaptureStorage) -> tuple[str, int]:
    state, clock = storage._connection.execute("SELECT state, clock FROM ledgers").fetchone()
    return state, clock


def test_accounts_that_are_rebuilt_are_those_that_there_were(tmp_path: Path) -> None:
    with CaptureStorage(tmp_path / "captures.db") as storage:
        billed = turns(Recorder(storage), Conversation(), 6)
        before, learned = [storage.attributions(one) for one in billed], ledger_of(storage)
        assert Explainer(storage, AttributionEngine()).rebuild_accounts() == 6
        assert [storage.attributions(one) for one in billed] == before
        assert ledger_of(storage)[0] == learned[0]
        for request_id, total in billed.items():
            check_sums(storage, request_id, total)


def test_a_recorder_goes_on_from_the_ledgers_that_another_process_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "captures.db"
    with CaptureStorage(path) as storage, CaptureStorage(path) as beside:
        recorder, conversation = Recorder(storage), Conversation()
        billed = turns(recorder, conversation, 3)
        storage._connection.execute("UPDATE ledgers SET state = replace(state, '\"tail\":5', '\"tail\":900')")
        Explainer(beside, AttributionEngine()).rebuild_accounts()
        billed |= turns(recorder, conversation, 1)
        state, clock = ledger_of(storage)
        assert (json.loads(state)["tail"], json.loads(state)["weights"]["equations"] > 3, clock) == (5, True, 8)
        for request_id, total in billed.items():
            check_sums(storage, request_id, total)


def test_two_that_settle_turns_of_one_conversation_add_up_to_the_bills(tmp_path: Path) -> None:
    """Neither takes a node's number for granted that the other one has changed since."""
    path = tmp_path / "captures.db"
    with CaptureStorage(path) as first, CaptureStorage(path) as second:
        recorders = [Recorder(first), Recorder(second)]
        conversation, billed = Conversation(), {}
        for turn in range(24):
            recorder = recorders[turn % 2]
            recorder.sent = turn
            billed |= turns(recorder, conversation, 1)
        for request_id, total in billed.items():
            check_sums(first, request_id, total)


REBUILD = """
import sys
from pathlib import Path
from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer
from claudeproxy.store.storage import CaptureStorage

with CaptureStorage(Path(sys.argv[1])) as storage:
    explainer = Explainer(storage, AttributionEngine())
    print("begun", flush=True)
    explainer.rebuild_accounts()
    sys.exit(explainer.errors)
"""


def test_a_rebuild_beside_a_running_recorder_leaves_every_sum_equal_to_its_bill(tmp_path: Path) -> None:
    with CaptureStorage(tmp_path / "captures.db") as storage:
        recorder, conversation = Recorder(storage), Conversation()
        billed = turns(recorder, conversation, 8)
        command = [sys.executable, "-c", REBUILD, str(storage.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as rebuilding:
            assert rebuilding.stdout is not None
            assert rebuilding.stdout.readline() == b"begun\n"
            for _ in range(8):
                billed |= turns(recorder, conversation, 1)
        assert rebuilding.returncode == 0
        billed |= turns(recorder, conversation, 1)
        for request_id, total in billed.items():
            check_sums(storage, request_id, total)
