"""Rows to bytes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.accounting.memory import LedgerRow
from claudeproxy.accounting.pages import decode_rows, encode_rows

NUMBER = st.integers(0, 2**40) | st.none()
ROWS = st.lists(
    st.one_of(
        st.builds(
            LedgerRow, st.sampled_from(["prefix", "block"]), st.binary(min_size=8, max_size=8), st.tuples(*[NUMBER] * 5)
        ),
        st.builds(LedgerRow, st.just("turn"), st.binary(min_size=8, max_size=8), st.tuples(NUMBER, NUMBER)),
        st.builds(LedgerRow, st.just("turn"), st.binary(min_size=8, max_size=8), st.none()),
    )
)


@given(st.lists(ROWS))
def test_pages_in_their_order_give_the_rows_back(pages):
    assert list(decode_rows(encode_rows(rows) for rows in pages if rows)) == [row for rows in pages for row in rows]


def test_no_rows_are_no_page():
    assert encode_rows([]) == b""


@pytest.mark.parametrize("page", [b"junk", encode_rows([LedgerRow("turn", b"k", (1, 2, 3))])])
def test_a_page_of_another_version_is_a_value_error(page):
    with pytest.raises(ValueError, match=r".+"):
        list(decode_rows([page]))
