from __future__ import annotations

from claudeproxy.capture.erase import JournalEraser
from claudeproxy.capture.journal_format import segments
from tests.capture.support import Store, drain, make_tap, start, tell

SECRET = b"heliotrope"


def on_disk(root):
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*.journal")))


def test_what_is_recorded_is_overwritten_and_what_is_not_stays(tmp_path):
    """A relay that writes on and a recorder that reads on are not disturbed."""
    tap, store, eraser = make_tap(tmp_path), Store(), JournalEraser(tmp_path)
    recorder = store.recorder(tmp_path)
    tell(tap, request=[SECRET])
    drain(recorder)
    assert SECRET in on_disk(tmp_path)
    length = len(on_disk(tmp_path))
    assert eraser.erase(store.cursors) == length
    assert on_disk(tmp_path) == bytes(length)

    open_one = tap.exchange(start(body_length=len(SECRET) + 1))
    open_one.request_body(SECRET)
    second = tell(tap, request=[b"second"])
    drain(recorder)
    assert eraser.erase(store.cursors) == 0  # the open one stands before it
    assert store.rows[second].request_body.data == b"second"
    recorder.close()

    again = store.recorder(tmp_path)  # reads from the cursor on, which is where the open one begins
    third = tell(tap, request=[b"third"])
    drain(again)
    assert store.rows[third].request_body.data == b"third"
    assert again.statistics().damaged_records == 0
    again.close()
    tap.writer.close()


def test_only_what_is_new_is_written_again(tmp_path):
    tap, store, eraser = make_tap(tmp_path), Store(), JournalEraser(tmp_path)
    recorder = store.recorder(tmp_path)
    for _ in range(2):
        before = len(on_disk(tmp_path))
        tell(tap, request=[SECRET])
        drain(recorder)
        assert eraser.erase(store.cursors) == len(on_disk(tmp_path)) - before
    recorder.close()
    tap.writer.close()


def test_a_journal_that_is_gone_is_no_error(tmp_path):
    assert JournalEraser(tmp_path / "nowhere").erase({"relay": (3, 100)}) == 0


def test_nothing_is_written_behind_the_end(tmp_path):
    tap = make_tap(tmp_path)
    tell(tap, request=[SECRET])
    (owner,) = (path for path in tmp_path.iterdir() if path.is_dir())
    length = len(on_disk(tmp_path))
    assert JournalEraser(tmp_path).erase({owner.name: (segments(owner)[0], length + 1000)}) == length
    assert len(on_disk(tmp_path)) == length
    tap.writer.close()
