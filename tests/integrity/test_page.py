"""The page is what its rows make of it, and its rows can be read back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integrity.page import ENTRY_MODES, PAGE, Row, merged, parse, render, sentence, sentence_of

ONE = Row(section="Client", fault="resets", mode="reverse", client="nothing", record="aborted_by_client")


def test_the_committed_page_was_not_written_by_hand() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert render(parse(text), sentence_of(text)) == text


def test_rows_that_differ_in_their_mode_only_share_a_line() -> None:
    rows = [replace(ONE, mode=mode) for mode in ENTRY_MODES]
    assert "| resets | every | nothing | aborted_by_client | goes on |" in render(rows)
    assert "| resets | reverse, tls |" in render([rows[2], rows[0]])
    odd = replace(rows[1], client="an EOF")
    assert parse(render([rows[0], odd])) == [rows[0], odd]
    assert parse(render(rows)) == rows


def test_a_part_replaces_the_rows_of_its_faults_and_leaves_the_others() -> None:
    other, newer = replace(ONE, fault="closes"), replace(ONE, fault="yawns")
    changed = replace(ONE, client="an EOF")
    assert merged([ONE, other], [changed, newer]) == [changed, other, newer]


def test_measured_times_stand_in_a_sentence_of_their_own() -> None:
    said = sentence([0.001, 0.002, 0.09])
    assert "2 ms in the median, 90 ms at most, in 3 exchanges" in said
    page = render([ONE], said)
    assert (sentence_of(page), parse(page)) == (said, [ONE])
    assert sentence([]) == sentence_of(render([ONE])) == ""


@pytest.mark.parametrize("wrong", [{"section": "Weather"}, {"client": "a | b"}, {"record": " "}, {"mode": "a, b"}])
def test_what_a_table_cannot_hold_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"section|table"):
        replace(ONE, **wrong)
