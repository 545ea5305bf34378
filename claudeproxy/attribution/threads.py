"""Tells whether a request continues a stateful thread, before anything else is known of it.

Apart from `engine` because whoever keeps the conversations must look one up first: `AttributionEngine.analyze_request`
takes what it found as ``history``. How the whole is put together is in `sansio.threads`.
"""

from __future__ import annotations

from claudeproxy.attribution.identity import body_strings, continues_thread
from claudeproxy.sansio.jsonspans import JSONSpanError, object_members


def continued_message(body: bytes) -> str | None:
    """Return the id of the message that this request continues, "" where it names none; None: it continues nothing."""
    if b'"thread"' not in body:  # nearly all: no second scan
        return None
    try:
        strings = body_strings(body, {member.key: member for member in object_members(body)})
    except JSONSpanError:
        return None
    return strings.get("previous_message_id", "") if continues_thread(strings) else None
