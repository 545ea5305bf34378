"""Which exchanges are not to be stored; their bodies are those of the demonstration, which says where it works."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy.excluding import MAX_SESSIONS, Exclusions
from claudeproxy.model import BodyKept, RecordedBody, State
from claudeproxy.recording import Recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy.testing.conversations import demo_conversation
from tests.capture.support import end, make_tap, start, tell
from tests.store.exchanges import exchange, in_flight, whole
from tests.store.websockets import message, upgraded, websocket

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "/home/robin/herbarium"
TURN = demo_conversation()[0]
SESSION = next(value for name, value in TURN.headers if name.lower() == b"x-claude-code-session-id").decode()
SIDE_CALL = b'{"model": "m", "messages": [{"role": "user", "content": "a title, please"}]}'
OURS = ((b"X-Claude-Code-Session-Id", SESSION.encode()),)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "excluded-sessions"


@pytest.fixture
def exclusions(memory: Path) -> Exclusions:
    return Exclusions([PROJECT], memory, memory.with_name("journal"))


def said(number: int, body: bytes = TURN.body, **changes: object):
    return exchange(number, body, **{"headers": TURN.headers, **changes})


# --- directories ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "project", "covered"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/b/", True),
        ("/a/b/", "/a/b/c/d", True),
        ("/a/b/../b", "/a/b/./c", True),
        ("/a/b", "/a/bc", False),
        ("/a/b", "/a", False),
        ("/", "/anything", True),
        ("~/work", "HOME/work/x", True),
        ("~/work", "HOME/workshop", False),
        ("/a/b", "\\a\\b\\c", True),
    ],
)
def test_a_directory_covers_itself_and_all_below(monkeypatch, tmp_path, memory, named, project, covered):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Exclusions([named], memory, memory).covers(project.replace("HOME", str(tmp_path))) is covered


def test_a_directory_is_known_by_its_link_and_by_what_it_leads_to(tmp_path, memory):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    exclusions = Exclusions([tmp_path / "link"], memory, memory)
    assert exclusions.covers(str(tmp_path / "link" / "x"))
    assert exclusions.covers(str(tmp_path / "real" / "x"))


# --- exchanges -----------------------------------------------------------------------------------------------------


def test_requests_of_an_excluded_directory_are_not_kept(exclusions):
    assert exclusions.kept([said(0), said(1, demo_conversation()[1].body)]) == []
    assert exclusions.found == [SESSION]


def test_other_requests_are(memory):
    turns = [said(0), exchange(1, SIDE_CALL), exchange(2, b""), exchange(3, b"\xff no json")]
    exclusions = Exclusions(["/home/robin/herb", "/elsewhere"], memory, memory)
    assert exclusions.kept(turns) == turns
    assert exclusions.found == []
    assert not memory.exists()


def test_what_else_a_session_sends_goes_with_it(exclusions):
    """Also what stands before it in the same batch: titles and counts come first."""
    title, event = exchange(0, SIDE_CALL, headers=OURS), exchange(1, b"", headers=OURS)
    by_metadata = {"metadata": {"user_id": json.dumps({"session_id": SESSION})}, **json.loads(SIDE_CALL)}
    named = exchange(4, json.dumps(by_metadata).encode(), headers=())
    other = exchange(5, SIDE_CALL)
    assert exclusions.kept([title, event, said(2), exchange(3, SIDE_CALL, headers=OURS), named, other]) == [other]


def test_sessions_are_remembered_by_a_hash(exclusions, memory):
    exclusions.kept([said(0), said(1)])
    assert SESSION not in memory.read_text()
    assert len(memory.read_text().split()) == 1
    assert memory.stat().st_mode & 0o077 == 0
    later = Exclusions(["/somewhere/else"], memory, memory)
    assert later.kept([exchange(0, SIDE_CALL, headers=OURS)]) == []


def test_the_memory_does_not_grow_without_bound(memory):
    memory.write_text("".join(f"{number:032x}\n" for number in range(MAX_SESSIONS + 1)))
    Exclusions([PROJECT], memory, memory)
    assert len(memory.read_text().split()) == MAX_SESSIONS // 2


def test_a_memory_that_cannot_be_written_is_kept_until_the_end(tmp_path):
    exclusions = Exclusions([PROJECT], tmp_path / "nowhere" / "file", tmp_path)
    exclusions.kept([said(0)])
    assert exclusions.kept([exchange(1, SIDE_CALL, headers=OURS)]) == []


def test_a_request_in_flight_waits_for_its_body(exclusions):
    part = RecordedBody(kept=BodyKept.PARTIAL, data=SIDE_CALL[:20], length=20)
    assert exclusions.kept([in_flight(0, request_body=part)]) == []
    assert exclusions.kept([in_flight(0, SIDE_CALL)]) == [in_flight(0, SIDE_CALL)]
    assert exclusions.kept([in_flight(1, request_body=whole(TURN.body), headers=())]) == []
    ended = exchange(0, SIDE_CALL, state=State.ABORTED_BY_CLIENT, request_body=part)
    assert exclusions.kept([ended]) == [ended]


def test_a_body_that_was_cut_is_searched_for_the_directory(exclusions):
    at = TURN.body.index(b"herbarium") + 12
    part = RecordedBody(kept=BodyKept.PARTIAL, data=TURN.body[:at], length=at)
    assert exclusions.kept([said(0, request_body=part, headers=(), state=State.ABORTED_BY_CLIENT)]) == []
    early = RecordedBody(kept=BodyKept.PARTIAL, data=TURN.body[:40], length=40)
    assert len(exclusions.kept([said(1, request_body=early, headers=(), state=State.ABORTED_BY_CLIENT)])) == 1


def test_a_directory_that_a_person_mentions_is_not_where_they_work(exclusions):
    body = json.dumps({"messages": [{"role": "user", "content": f"Working directory: {PROJECT}"}]}).encode()
    assert len(exclusions.kept([exchange(0, body)])) == 1


def test_a_batch_is_searched_too(exclusions):
    body = json.dumps({"requests": [{"custom_id": "1", "params": json.loads(TURN.body)}]}).encode()
    assert exclusions.kept([exchange(0, body)]) == []


# --- in the recorder -----------------------------------------------------------------------------------------------


def recording(tmp_path: Path, *directories: str) -> Recording:
    (tmp_path / "journal").mkdir(exist_ok=True)
    return Recording(
        RecordingSettings(
            database=str(tmp_path / "captures.db"),
            journal=str(tmp_path / "journal"),
            exclude_projects=directories,
            excluded_sessions=str(tmp_path / "excluded-sessions"),
        )
    )


def left(tmp_path: Path) -> list[str]:
    with CaptureStorage(tmp_path / "captures.db", read_only=True) as storage:
        return [row.correlation_id for row in storage.query_requests(RequestFilters()).rows]


def step(made: Recording) -> None:
    while made.recorder.step():
        pass
    while made.idle():
        pass


def test_the_recorder_stores_the_others_and_its_cursor_moves_on(tmp_path):
    tap = make_tap(tmp_path / "journal")
    with closing(recording(tmp_path, PROJECT)) as made:
        tell(tap, request=[TURN.body], request_headers=TURN.headers)
        other = tell(tap, request=[SIDE_CALL])
        step(made)
        assert left(tmp_path) == [other]
        assert (made.status()["stored"], made.status()["excluded"]) == (1, 1)
        assert b"herbarium" not in b"".join(path.read_bytes() for path in (tmp_path / "journal").rglob("*.journal"))
        tap.writer.close()
        step(made)
        assert [path.name for path in (tmp_path / "journal").iterdir() if path.is_dir()] == []
        made.recorder.close()


def test_the_journals_bytes_go_when_what_began_earlier_has_ended(tmp_path):
    tap = make_tap(tmp_path / "journal")

    def held() -> bool:
        return b"herbarium" in b"".join(path.read_bytes() for path in (tmp_path / "journal").rglob("*.journal"))

    with closing(recording(tmp_path, PROJECT)) as made:
        older = tap.exchange(start(body_length=len(SIDE_CALL)))
        tell(tap, request=[TURN.body], request_headers=TURN.headers)
        step(made)
        assert held()
        older.request_body(SIDE_CALL)
        older.end(end())
        step(made)
        assert not held()
        made.recorder.close()
    tap.writer.close()
    assert len(left(tmp_path)) == 1


def test_what_a_session_sent_before_it_said_where_it_is_is_deleted(tmp_path):
    """The first is stored while nothing tells whose it is; one of them is in flight still."""
    tap = make_tap(tmp_path / "journal")
    with closing(recording(tmp_path, PROJECT)) as made:
        tell(tap, request=[SIDE_CALL], request_headers=OURS)
        running = tap.exchange(start(body_length=len(SIDE_CALL), headers=OURS))
        running.request_body(SIDE_CALL)
        other = tell(tap, request=[SIDE_CALL])
        step(made)
        assert len(left(tmp_path)) == 3
        tell(tap, request=[TURN.body], request_headers=TURN.headers)
        step(made)
        assert left(tmp_path) == [other]
        running.end(end())
        step(made)
        assert left(tmp_path) == [other]
        assert made.status()["excluded"] == 2
        made.recorder.close()
    tap.writer.close()


def test_a_restart_in_the_middle_of_a_session_changes_nothing(tmp_path):
    tap = make_tap(tmp_path / "journal")
    for body in (TURN.body, SIDE_CALL):
        with closing(recording(tmp_path, PROJECT)) as made:
            tell(tap, request=[body], request_headers=OURS)
            step(made)
            made.recorder.close()
    tap.writer.close()
    assert left(tmp_path) == []


def test_what_is_stored_of_other_directories_stays(tmp_path):
    """A session that was recorded before its directory was excluded: what names a directory is not touched."""
    tap = make_tap(tmp_path / "journal")
    for directories in ((), (PROJECT,)):
        with closing(recording(tmp_path, *directories)) as made:
            tell(tap, request=[TURN.body], request_headers=TURN.headers)
            step(made)
            made.recorder.close()
    tap.writer.close()
    assert len(left(tmp_path)) == 1


def test_nothing_is_read_where_nothing_is_excluded(tmp_path):
    tap = make_tap(tmp_path / "journal")
    with closing(recording(tmp_path)) as made:
        tell(tap, request=[TURN.body], request_headers=TURN.headers)
        step(made)
        made.recorder.close()
    tap.writer.close()
    assert len(left(tmp_path)) == 1
    assert not (tmp_path / "excluded-sessions").exists()


# --- connections without a prompt ----------------------------------------------------------------------------------


def test_of_a_websocket_that_names_no_session_only_the_lengths_are_kept(exclusions):
    talk = upgraded(1, websocket(message(0, b"whose is this?")), headers=())
    (kept,) = exclusions.kept([talk])
    assert kept.websocket.messages == ()
    assert (kept.websocket.sent.kept, kept.websocket.sent.length) == (BodyKept.POLICY, 100)
    assert b"whose" not in repr(kept).encode()


def test_a_websocket_of_a_session_that_is_stored_keeps_its_messages(exclusions):
    talk = upgraded(1, websocket(message(0, b"hello")), headers=OURS)
    assert exclusions.kept([talk]) == [talk]


def test_a_websocket_goes_with_its_session_and_by_what_it_says(exclusions):
    names = upgraded(1, websocket(message(0, b'{"cwd": "' + PROJECT.encode() + b'/x"}')), headers=OURS)
    assert exclusions.kept([names]) == []
    assert exclusions.kept([upgraded(2, websocket(message(0, b"hello")), headers=OURS)]) == []
