"""The REST API: read what was captured, over HTTP on a loopback port.

In reading order: `entry` serves the API of a running service; `app` puts the parts together; `security` decides who
may ask; `errors` gives every failure one shape; `storage` lends database connections to worker threads; `parameters`
and `schemas` are the documents that go in and come out, `presenting` and `answers` make them; `requests`, `responses`,
`contexts` and `health` are one module a resource; `openapi` describes them; `serving` runs the whole on Hypercorn
inside the caller's nursery.
"""

from __future__ import annotations

from claudeproxy.api.app import create_app
from claudeproxy.api.entry import serve
from claudeproxy.api.serving import serve_app

__all__ = ["create_app", "serve", "serve_app"]
