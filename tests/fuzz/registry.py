"""All targets by name."""

from __future__ import annotations

from tests.fuzz import bodies, heads, json_documents, keeping, websocket

TARGETS = {
    target.name: target for module in (heads, bodies, json_documents, keeping, websocket) for target in module.TARGETS
}
