from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.quarantine import Place, Quarantine
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.unfinished import Part
from claudeproxy_cli import record_checks
from claudeproxy_cli.findings import Context
from claudeproxy_cli.record_checks import record
from tests.capture.support import make_tap, tell
from tests.store.exchanges import exchange

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(home: Path) -> Context:
    return Context(config=ClaudeProxyConfig.isolated(home=home), config_file=None, environment={}, directory=home)


def test_a_home_with_nothing_in_it_lacks_nothing(context: Context) -> None:
    assert record(context).status == "ok"


def test_what_is_missing_is_said_with_its_number_and_the_way_to_mend_it(context: Context, home: Path) -> None:
    home.mkdir(mode=0o700)
    with CaptureStorage(home / "captures.db") as storage:
        for request_id in storage.record([exchange(0, b"{}"), exchange(1, b"{}")], {}):
            storage.note_unfinished(request_id, Part.SEARCH, ZeroDivisionError())
    tap = make_tap(home / "journal")
    tell(tap)
    place = Place(directory=home / "journal" / tap.writer.owner, number=1, start=(0, 0), key="x")
    assert Quarantine(home / "quarantine", "1").take(place)
    found = record(context)
    assert found.status == "warn"
    assert "2 captures without search" in found.detail
    assert "1 exchange that cannot be recorded set aside" in found.detail
    assert "MiB in the journal are recorded at the next start" in found.detail
    assert "metrics rebuild" in str(found.remedy)


def test_what_the_service_says_is_said_in_words() -> None:
    said = {
        "capture": {"lost": 1, "dropped": 2, "journal": {"last_error": "No space left on device"}},
        "recorder": {"failures": 3, "last_error": "StorageError: locked", "discarded": 1},
        "workers": [{"worker": 1, "serves": True}, {"worker": 2, "serves": False}],
    }
    assert list(record_checks._of_the_service(said)) == [
        "1 exchange since the start was not recorded at all",
        "2 exchanges since the start were recorded without bodies",
        "last reason: No space left on device",
        "worker 2 does not serve; the log says why",
        "the recorder cannot work: StorageError: locked",
        "1 exchange could neither be recorded nor set aside",
    ]
    assert list(record_checks._of_the_service({})) == []
