from __future__ import annotations

from claudeproxy.api import presenting, times
from claudeproxy.export.times import dollars, iso


def test_instants_and_money_are_written_as_the_api_writes_them() -> None:
    for moment in (0, 1_767_225_600_000_000_000, 1_767_225_600_123_456_789):
        assert iso(moment) == times.iso(moment)
    for cost in (0, 1, 10**12, 123_456_789_012_345, None):
        assert dollars(cost) == presenting.dollars(cost)
    assert iso(None) is None
