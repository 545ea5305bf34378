from __future__ import annotations

from claudeproxy.store.canonical import START, canonical_digest, link


def test_what_means_the_same_has_one_hash():
    """A bare string and its text block; the order of keys; the spelling of a character."""
    same = {
        canonical_digest(block)
        for block in (
            '"hé"'.encode(),
            '{"type":"text","text":"hé"}'.encode(),
            b'{"text": "h\\u00e9", "type": "text"}',
        )
    }
    assert len(same) == 1
    assert canonical_digest(b'{"type":"text","text":"he"}') not in same
    assert canonical_digest(b'{"type":"text","text":"he"') == canonical_digest(b'{"type":"text","text":"he"')


def test_a_lone_surrogate_is_no_obstacle():
    assert canonical_digest(b'"\\ud800"') != canonical_digest(b'"\\ud801"')


def test_the_chain_tells_places_apart():
    """``[user A][user B]``, ``[user A, B]`` and ``[user A][assistant B]`` are three conversations."""
    a, b = canonical_digest(b'"a"'), canonical_digest(b'"b"')
    first = link(START, a, role=2, opens=True)
    assert len({link(first, b, role=role, opens=opens) for role, opens in ((2, True), (2, False), (3, True))}) == 3
    assert link(first, b, role=2, opens=True) != link(link(START, b, role=2, opens=True), a, role=2, opens=True)
