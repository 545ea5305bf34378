"""The rules in force, as the recorder and the command line find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.attribution import DEFAULT
from claudeproxy.recording import Recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.ruleset import load_rules
from claudeproxy.store.values import RequestFilters
from tests.capture.support import make_tap, tell

if TYPE_CHECKING:
    from pathlib import Path

ROW = """
  - id: {id}
    starts_with: "{id} says:"
    source: "Hook: {id}"
    example: "{id} says: x"
    counter_example: "says {id}: x"
"""

TOOLS = """
rules:
  - id: ctx
    applies_to: tools
    matches: 'ctx_(?P<tool>.+)'
    source: "MCP: {tool}"
    example: ctx_x
    counter_example: ct_x
"""


def test_what_people_wrote_stands_before_the_built_in_rules_in_the_order_of_the_files(tmp_path: Path) -> None:
    home, second = tmp_path / "rules.yaml", tmp_path / "second.yaml"
    home.write_text("rules:" + ROW.format(id="home"))
    second.write_text("rules:" + ROW.format(id="second"))
    found = load_rules([second], optional=home)
    assert [rule.id for rule in found.rules][:3] == ["home", "second", DEFAULT.rules[0].id]
    assert found.origins == {"home": str(home), "second": str(second)}
    assert found.problems == ()
    assert found.rules.version != DEFAULT.version


def test_with_every_file_unusable_the_built_in_rules_are_in_force(tmp_path: Path) -> None:
    home, second = tmp_path / "rules.yaml", tmp_path / "second.yaml"
    home.write_text("rules: [")
    second.write_text("rules:" + ROW.format(id="date"))
    found = load_rules([second, tmp_path / "missing.yaml"], optional=home)
    assert found.rules is DEFAULT
    assert [problem.origin for problem in found.problems] == [str(home), str(tmp_path / "missing.yaml"), str(second)]
    assert "another rule has this id" in str(found.problems[-1])


def test_the_recorder_explains_by_ones_own_rules_and_anew_when_they_change(tmp_path: Path) -> None:
    """The engine's version holds the rules: what was derived by others is derived again."""
    (tmp_path / "journal").mkdir()
    file = tmp_path / "rules.yaml"
    settings = RecordingSettings(
        database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"), rules_file=str(file)
    )
    body = (
        b'{"messages": [{"role": "user", "content": "hello"}], "tools": [{"name": "ctx_find", "description": "find"}]}'
    )
    tell(make_tap(tmp_path / "journal"), request=(body,))
    assert "Tool: ctx_find" in explained(settings)
    file.write_text(TOOLS)
    assert "MCP: find" in explained(RecordingSettings.from_json(settings.to_json()))
    file.write_text("rules: [")  # never stops recording: the built-in rules are in force again
    assert "Tool: ctx_find" in explained(settings)


def explained(settings: RecordingSettings) -> set[str]:
    """Record what is there, and return the labels of the one capture's sources."""
    recording = Recording(settings)
    try:
        recording.recorder.step()
        while recording.idle():
            pass
        (row,) = recording.storage.query_requests(RequestFilters()).rows
        return {total.source.label for total in recording.storage.sources(row.id)}
    finally:
        recording.recorder.close()
        recording.close()
