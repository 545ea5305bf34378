"""Bodies of requests have the size that was asked for, and each is unlike all others."""

from __future__ import annotations

import json

import pytest
from load import Requests


@pytest.mark.parametrize("size", [1_000, 10_000, 100_000, 1_300_000])
def test_a_request_of_any_size_is_a_prompt_that_no_other_request_has(size: int):
    requests = Requests(size)
    assert requests.size == pytest.approx(size, rel=0.1)
    one, other = (requests.make("/v1/messages", "localhost").partition(b"\r\n\r\n") for _ in range(2))
    assert len(one[2]) == requests.size
    assert b"Content-Length: %d" % requests.size in one[0]
    assert json.loads(one[2])["messages"] != json.loads(other[2])["messages"]
    assert json.loads(one[2])["messages"][:-1] == json.loads(other[2])["messages"][:-1]
