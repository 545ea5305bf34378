"""What stands outside every block is tiled too, however much of it there is."""

from __future__ import annotations

import json
from itertools import pairwise

from claudeproxy.attribution.overhead import MAX_PARAMETERS, cut_overhead
from claudeproxy.sansio.messages import layout


def test_very_many_parameters_are_not_all_named():
    """Each name is a row for ever; nobody has a thousand, and every byte is claimed all the same."""
    parameters = {f"p{number}": number for number in range(MAX_PARAMETERS + 5)}
    body = json.dumps({**parameters, "messages": [{"role": "user", "content": "hello"}]}).encode()
    cut = layout(body)
    found = cut_overhead(body, cut)
    assert sum(segment.kind == "parameter" for segment in found) == MAX_PARAMETERS
    pieces = sorted([(s.byte_start, s.byte_end) for s in found] + [(b.start, b.end) for b in cut.blocks])
    assert (pieces[0][0], pieces[-1][1]) == (0, len(body))
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
