"""SQL functions of ours, for the public views: a plain ``sqlite3`` shell can read every table, but not these columns.

Apart so that tools which open the file themselves can register the same ones: ``register_functions(connection)``.
Deterministic, so that SQLite may call them once per row and use them in queries freely.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from claudeproxy.store.numbers import expand_json

if TYPE_CHECKING:
    import sqlite3

# UUIDv5 name space of every id that follows from others. Ids stay the same when a record is made again.
NAMESPACE = uuid.UUID("5f1c0f0e-2f43-5c6b-9d0e-6a1f4c8f7b21")


def derived_id(kind: str, name: str) -> str:
    """Return the UUIDv5 of a name; `kind` keeps requests, responses and attributions apart."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}:{name}"))


def _attribution_id(request_id: str, ordinal: str) -> str:
    """``claudeproxy_attribution_id(request_id, ordinal)``: the UUIDv5 of one row of ``context_attributions``."""
    return derived_id("attribution", f"{request_id}:{ordinal}")


def register_functions(connection: sqlite3.Connection) -> None:
    """Make the functions that the views use known to a connection."""
    connection.create_function("claudeproxy_attribution_id", 2, _attribution_id, deterministic=True)
    connection.create_function("claudeproxy_numbers", 4, expand_json, deterministic=True)
