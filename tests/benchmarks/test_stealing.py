"""What is added to an event is told against the direct connection under the same load."""

from __future__ import annotations

import pytest
from load import Route, Sample
from processes import Contender
from stealing import compare, row


def rows() -> list[dict[str, float | str | None]]:
    found = []
    for load, slower in (("streams alone", 1.0), ("1 MB beside", 3.0)):
        for name, delay in (("direct", 0.001), ("claudeproxy", 0.002)):
            contender = Contender(name=name, mode="reverse", route=Route(port=1))
            found.append(row(contender, load, [Sample(events=[delay * slower] * 100)], [], 0.0))
    return found


def test_each_load_is_compared_with_itself():
    found = rows()
    compare(found)
    assert [one.get("added_p99_ms") for one in found] == [None, pytest.approx(1), None, pytest.approx(3)]
    assert found[3]["events"] == 100
