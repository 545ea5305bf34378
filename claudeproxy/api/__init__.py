"""The REST API: read, rate and delete what was captured, over HTTP on a loopback port.

In reading order: `entry` serves the API of a running service; `app` puts the parts together; `security` decides who
may ask; `errors` gives every failure one shape; `storage` lends database connections to worker threads; `parameters`,
`bodies`, `schemas` and `insight_schemas` are the documents that go in and come out, `presenting`, `insight_presenting`
and `answers` make them; `requests`, `responses`, `contexts`, `sessions`, `metrics`, `feedback`, `deleting`, `export`,
`live` (with `events`), `health` and `prometheus` are one module a resource; `openapi` describes them, with `links`
between them; `serving` runs the whole on Hypercorn inside the caller's nursery.

The public names are resolved on first use (PEP 562): Quart takes longer to load than all else that a proxy needs before
it can serve, and `entry` loads it when the proxy does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from claudeproxy.api.app import create_app
    from claudeproxy.api.entry import serve
    from claudeproxy.api.serving import serve_app

__all__ = ["create_app", "serve", "serve_app"]

_HOMES: Final = {
    "create_app": "claudeproxy.api.app",
    "serve": "claudeproxy.api.entry",
    "serve_app": "claudeproxy.api.serving",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
