"""The API of a running service: what `ClaudeProxy` is handed, so that it need not know Quart.

Apart from `app`, which knows no configuration, and from `serving`, which knows no API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

import claudeproxy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart_trio import QuartTrio

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.store.storage import CaptureStorage


WRITE_PATIENCE = 5.0
"""Seconds that a change waits for other writers, whose transactions take milliseconds; then it is a 500, and undone."""


class Service(Protocol):
    """The part of `ClaudeProxy` that the API needs."""

    @property
    def config(self) -> ClaudeProxyConfig:
        """Address, token and accepted hosts come from here."""
        ...

    def open_storage(self) -> CaptureStorage:
        """A new reader of the captures; called in worker threads."""
        ...

    def health(self) -> Mapping[str, object]:
        """Plain values for JSON; never blocks."""
        ...

    def erase_journals(self, cursors: Mapping[str, tuple[int, int]]) -> int:
        """Overwrite what journals hold up to these cursors; called in worker threads, one at a time."""
        ...


async def serve(service: Service, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the REST API of `service` until cancelled; started with the ``HOST:PORT`` addresses.

    Raises ConfigError when the address cannot be had, or lies beyond loopback and there is no `api_token`.
    """
    # In a thread: the proxy serves by now, and loading Quart takes half a second.
    app = await trio.to_thread.run_sync(_application, service)
    from claudeproxy.api.serving import serve_app

    await serve_app(app, bind=service.config.api_address, task_status=task_status)


def _application(service: Service) -> QuartTrio:
    from claudeproxy.api import serving  # noqa: F401  (loaded here, beside the proxy, and not in its event loop)
    from claudeproxy.api.app import create_app
    from claudeproxy.store.storage import CaptureStorage

    config = service.config
    return create_app(
        service.open_storage,
        open_writer=lambda: CaptureStorage(config.database_path, busy_timeout=WRITE_PATIENCE),
        token=None if config.api_token is None else config.api_token.get_secret_value(),
        accepted_hosts=config.accepted_hosts,
        health=service.health,
        version=claudeproxy.__version__,
        # Whoever sets one wants it asked for: on a machine with other users loopback is everybody's.
        token_required=config.api_token is not None or not config.api.is_loopback,
        erase_journals=service.erase_journals,
    )
