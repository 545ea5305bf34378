from __future__ import annotations

import pytest

from claudeproxy.store.text import bounded, clean


@pytest.mark.parametrize(
    ("given", "stored"), [(None, None), ("plain", "plain"), ("é😀", "é😀"), ("a\ud800b", "a?b"), ("a\0b", "a\ufffdb")]
)
def test_text_is_made_fit_for_sqlite(given, stored):
    assert clean(given) == stored


@pytest.mark.parametrize(
    ("given", "stored"), [(None, None), (5, 5), (2**63 - 1, 2**63 - 1), (2**63, None), (-(2**64), None)]
)
def test_numbers_that_do_not_fit_are_unknown(given, stored):
    assert bounded(given) == stored
