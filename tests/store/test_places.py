from __future__ import annotations

from itertools import product

import pytest

from claudeproxy.store import places
from claudeproxy.store.places import pack, section_of


def test_different_places_are_different_numbers():
    """And all fit into SQLite's integers."""
    made = {
        pack(section=s, opens=o, masked=m, items_skipped=i, messages_skipped=k, role=r)
        for s, o, m, i, k, r in product(
            range(3),
            (False, True),
            (False, True),
            (0, 1, places.MAX_ITEMS_SKIPPED),
            (0, 1, places.MAX_MESSAGES_SKIPPED),
            (0, 1, 2**30 - 1),
        )
    }
    assert len(made) == 3 * 2 * 2 * 3 * 3 * 3
    assert max(made) < 2**63
    assert {section_of(place) for place in made} == {0, 1, 2}


@pytest.mark.parametrize(
    ("items", "messages"), [(places.MAX_ITEMS_SKIPPED + 1, 0), (0, places.MAX_MESSAGES_SKIPPED + 1)]
)
def test_more_than_there_are_bits_for_is_refused(items, messages):
    with pytest.raises(ValueError, match="hold no block"):
        pack(section=0, opens=False, masked=False, items_skipped=items, messages_skipped=messages, role=0)
