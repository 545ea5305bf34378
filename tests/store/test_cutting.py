from __future__ import annotations

import pytest
from hypothesis import given, settings

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio import messages
from claudeproxy.store import cutting
from claudeproxy.store.cutting import CutError, cut_body
from claudeproxy.store.skeleton import ORDERS
from tests.sansio.growing import bodies

BODY = (
    b'{"model":"m","messages":[{"role":"user","content":[{"t":"a","cache_control":{}}]},{"role":"x","content":[]},'
    b'{"role":"user","content":"b"}],"system":"x-anthropic-billing-header: 1","stream":true}'
)


def test_pieces_come_in_prompt_order_with_the_bytes_before_them():
    cut = cut_body(BODY)
    system, first, second = cut.pieces
    assert ORDERS[cut.order][:2] == (2, 1)
    assert (system.masked, system.section, system.item_index) == (True, 1, -1)
    assert system.gap == (b"],".replace(b"]", b"}]"), b'"system":')
    assert first.gap == (b"{", b'"model":"m",', b'"messages":[{"role":"user","content":[')
    assert (first.data, first.cut) == (b'{"t":"a"}', (8, b',"cache_control":{}'))
    assert (first.opens, first.messages_skipped, first.message_index) == (True, 0, 0)
    assert (second.data, second.messages_skipped, second.message_index) == (b'"b"', 1, 2)
    assert cut.tail == (b",", b'"stream":true}')


def test_items_that_are_no_blocks_are_counted():
    cut = cut_body(b'{"messages":[{"content":[1,2,{"a":1},3,{"b":1}]}],"tools":[0,{"n":1}]}')
    assert [(p.items_skipped, p.item_index) for p in cut.pieces] == [(1, 1), (2, 2), (1, 4)]


def test_what_is_no_messages_request_is_refused():
    with pytest.raises(ProtocolError):
        cut_body(b"[]")


@pytest.mark.parametrize(
    "shift",
    [
        {"start": 1},
        {"end": -1},
        {"cut": (0, 1)},
        {"cut": (-2, -2)},
        {"cut": (-8, -25)},
    ],
)
def test_a_cut_that_the_parser_does_not_confirm_is_refused(monkeypatch, shift):
    """Any partition of a body rebuilds, also a wrong one: spans are looked at a second time."""
    found = messages.layout(BODY)
    block = next(one for one in found.blocks if one.cut)
    changes = {
        name: (block.cut[0] + by[0], block.cut[1] + by[1]) if name == "cut" else getattr(block, name) + by
        for name, by in shift.items()
    }
    wrong = messages.RequestLayout(
        blocks=tuple(_replace(one, changes) if one is block else one for one in found.blocks),
        members=found.members,
        length=found.length,
    )
    monkeypatch.setattr(cutting, "layout", lambda body: wrong)
    with pytest.raises(CutError):
        cut_body(BODY)


def _replace(block, changes):
    from dataclasses import replace

    return replace(block, **changes)


def test_a_cut_beside_a_lone_surrogate_is_confirmed_too():
    """The parser refuses such a block, so the second look fails, and the body is stored whole: safe, if not small."""
    with pytest.raises(CutError):
        cut_body(b'{"messages":[{"content":[{"t":"\\ud800","cache_control":1}]}]}')
    assert len(cut_body(b'{"messages":[{"content":[{"t":"\\ud800"}]}]}').pieces) == 1


@settings(max_examples=150)
@given(bodies())
def test_pieces_that_are_taken_over_are_those_that_would_have_been_cut(sequence):
    for body in sequence:
        kept, cutting._recent = cutting._recent, ()
        try:
            fresh = cut_body(body)
        except ProtocolError:
            cutting._recent = kept
            with pytest.raises(ProtocolError):
                cut_body(body)
            continue
        cutting._recent = kept
        assert cut_body(body) == fresh


def test_a_turn_takes_over_the_pieces_of_the_turn_before_it():
    head = b'{"tools":[{"name":"t"}],"messages":[{"content":"a"},{"content":[{"t":"b"},{"t":"c"}]}'
    before = cut_body(head + b"]}").pieces
    after = cut_body(head + b',{"content":"d"}]}').pieces
    assert [now is then for now, then in zip(after, before, strict=False)] == [True] * 4
