"""What the OpenAPI document of the API cannot say of its parameters, for schemathesis, which runs outside pytest.

Loaded by `test_schemathesis` (``SCHEMATHESIS_HOOKS``). It leaves out combinations that are 400 by design and have tests
of their own: everything else that the document allows must be accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import schemathesis

from claudeproxy.api.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILTERS = frozenset({"dry_run", "everywhere", "q"})  # of a deletion: none of them is enough by itself


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Whether a generated case says something that could be done."""
    query = case.query or {}
    if case.meta is not None and not case.meta.generation.mode.is_positive:
        return True
    if case.method.upper() == "DELETE" and case.path.endswith("/requests") and not set(query) - FILTERS:
        return False
    return _in_order(query, "start_time", "end_time", parse_time) and _in_order(
        query, "min_rating", "max_rating", float
    )


def _in_order(query: Mapping[str, object], low: str, high: str, read: Callable[[str], float]) -> bool:
    if low not in query or high not in query:
        return True
    first, last = read(str(query[low])), read(str(query[high]))
    return first <= last and (first < last or read is float)
