"""The application: routes, errors, guard and storage put together.

Made by a function and not at import, because everything it needs is handed to it: how to open the database, the token,
the hosts, the health of the service. It opens nothing and starts nothing; `serving` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart_trio import QuartTrio

from claudeproxy.api.contexts import context_routes
from claudeproxy.api.errors import install_error_handlers
from claudeproxy.api.health import health_routes
from claudeproxy.api.openapi import install_openapi
from claudeproxy.api.requests import request_routes
from claudeproxy.api.responses import response_routes
from claudeproxy.api.security import Guard, Policy, known_hosts
from claudeproxy.api.storage import StoragePool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

    from claudeproxy.store.storage import CaptureStorage

PREFIX = "/api/claude"


def create_app(
    open_storage: Callable[[], CaptureStorage],
    *,
    token: str | None,
    accepted_hosts: Collection[str],
    health: Callable[[], Mapping[str, object]],
    version: str,
    token_required: bool = False,
) -> QuartTrio:
    """The REST API as an ASGI application.

    `open_storage` gives a new reader each time and is called in worker threads. `accepted_hosts` are names beside
    127.0.0.1, localhost and [::1]. `token_required` is for an API that is bound beyond loopback; raises ConfigError
    when it is set and there is no `token`, or when a host is not one.
    """
    policy = Policy(hosts=known_hosts(accepted_hosts), token=token, token_required=token_required)
    storage = StoragePool(open_storage)
    app = QuartTrio("claudeproxy.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = policy.max_body_bytes
    # Werkzeug would answer `//` with a redirect, in HTML.
    app.url_map.merge_slashes = False

    install_error_handlers(app)
    install_openapi(app, version=version, token_required=token_required)
    for routes in (
        request_routes(storage),
        response_routes(storage),
        context_routes(storage),
        health_routes(health, version),
    ):
        app.register_blueprint(routes, url_prefix=PREFIX)

    app.asgi_app = _closing(Guard(cast("ASGIFramework", app.asgi_app), policy), storage)  # type: ignore[method-assign]
    return app


def _closing(inner: Guard, storage: StoragePool) -> Callable[..., Coroutine[object, object, None]]:
    """Close the database connections when the lifespan ends, by a cancellation too."""

    async def asgi_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await inner(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                storage.close()

    return asgi_app
