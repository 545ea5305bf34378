"""The application: routes, errors, guard and storage put together.

Made by a function and not at import, because everything it needs is handed to it: how to open the database, the token,
the hosts, the health of the service. It opens nothing and starts nothing; `serving` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart_trio import QuartTrio

from claudeproxy.api.contexts import context_routes
from claudeproxy.api.deleting import Cursors, deleting_routes
from claudeproxy.api.errors import install_error_handlers
from claudeproxy.api.export import export_routes
from claudeproxy.api.feedback import feedback_routes
from claudeproxy.api.health import health_routes
from claudeproxy.api.live import change_number, live_routes, with_feed
from claudeproxy.api.messages import message_routes
from claudeproxy.api.metrics import metrics_routes
from claudeproxy.api.openapi import install_openapi
from claudeproxy.api.prometheus import prometheus_routes
from claudeproxy.api.quota import quota_routes
from claudeproxy.api.requests import request_routes
from claudeproxy.api.responses import response_routes
from claudeproxy.api.secrets import secret_routes
from claudeproxy.api.security import Guard, Policy, known_hosts
from claudeproxy.api.sessions import SessionIdConverter, session_routes
from claudeproxy.api.storage import StoragePool
from claudeproxy.live import LiveFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

    from claudeproxy.store.storage import CaptureStorage

PREFIX = "/api/claude"


def create_app(
    open_storage: Callable[[], CaptureStorage],
    *,
    open_writer: Callable[[], CaptureStorage],
    token: str | None,
    accepted_hosts: Collection[str],
    health: Callable[[], Mapping[str, object]],
    version: str,
    token_required: bool = False,
    erase_journals: Callable[[Cursors], object] | None = None,
) -> QuartTrio:
    """The REST API as an ASGI application.

    `open_storage` gives a new reader each time, `open_writer` a storage that can be written; both are called in worker
    threads. `accepted_hosts` are names beside 127.0.0.1, localhost and [::1]. `token_required` is for an API that is
    bound beyond loopback; raises ConfigError when it is set and there is no `token`, or when a host is not one.
    `erase_journals` overwrites what journals hold of recorded exchanges, up to the cursors that it is given.
    """
    policy = Policy(hosts=known_hosts(accepted_hosts), token=token, token_required=token_required)
    storage = StoragePool(open_storage)
    writer = StoragePool(open_writer, size=1)  # SQLite has one writer at a time: a second would only wait
    deleter = StoragePool(open_writer, size=1)  # its own, because a deletion may take minutes, and pauses for others
    following = StoragePool(open_storage, size=2)  # asked several times a second: it must not queue behind long queries
    feed = LiveFeed(change_number(following))
    app = QuartTrio("claudeproxy.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = policy.max_body_bytes
    # Werkzeug would answer `//` with a redirect, in HTML.
    app.url_map.merge_slashes = False
    app.url_map.converters["session"] = SessionIdConverter

    install_error_handlers(app)
    install_openapi(app, version=version, token_required=token_required)
    for routes in (
        request_routes(storage),
        message_routes(storage),
        response_routes(storage),
        context_routes(storage),
        session_routes(storage),
        metrics_routes(storage, health),
        quota_routes(storage),
        secret_routes(storage, health),
        feedback_routes(storage, writer),
        deleting_routes(deleter, erase_journals),
        live_routes(following, feed),
        export_routes(storage),
        health_routes(storage, health, version, feed.statistics),
    ):
        app.register_blueprint(routes, url_prefix=PREFIX)
    app.register_blueprint(prometheus_routes(storage, health, version))

    guard = Guard(with_feed(cast("ASGIFramework", app.asgi_app), feed), policy)
    app.asgi_app = _closing(guard, storage, following, writer, deleter)  # type: ignore[method-assign]
    return app


def _closing(inner: Guard, *pools: StoragePool) -> Callable[..., Coroutine[object, object, None]]:
    """Close the database connections when the lifespan ends, by a cancellation too."""

    async def asgi_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await inner(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                for pool in pools:
                    pool.close()

    return asgi_app
