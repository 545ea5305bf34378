"""``claudeproxy serve``: the proxy, the capture and the REST API, until a signal.

Thin: flags become configuration, the service does the work, and this module says where it listens, publishes the state
file, and turns signals into the two steps of an end: the first drains, the second does not wait. What is in the journal
by then is not lost either way: the next start records it.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path  # noqa: TC003  (typer reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy import __version__
from claudeproxy.errors import ClaudeProxyError, ConfigError
from claudeproxy.logs import get_logger
from claudeproxy_cli import attached
from claudeproxy_cli.descriptors import raise_limit
from claudeproxy_cli.options import ConfigOption, HomeOption, given, home_flag, load_config, program
from claudeproxy_cli.pause import paused_note
from claudeproxy_cli.render import is_terminal, note
from claudeproxy_cli.running import RunningServer, find_server, remove_state, url, write_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import trio

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.service import ClaudeProxy, ServiceAddresses

log = get_logger("claudeproxy.serve")

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy serve --bind 127.0.0.1:9443")
def command(
    bind: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the proxy listens. [127.0.0.1:8443]")
    ] = None,
    api: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the API listens. [127.0.0.1:3001]")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the API's traffic goes: a gateway, a test server.")
    ] = None,
    upstream_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of CAs to trust upstream, beside the system's.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that relay; more than one for many clients. [1]")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Ask the API for exact sizes, once per new model and set of tools.")
    ] = False,
    attached_mode: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
    listen_fd: Annotated[int | None, typer.Option("--listen-fd", hidden=True)] = None,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Run proxy, capture and REST API until Ctrl-C.

    The first Ctrl-C lets running exchanges end, the second does not. Once a day, captures that are too old or too much
    are deleted (`retention_days`, `max_database_size`). `claudeproxy pause` stops capture meanwhile.
    """
    if attached_mode:
        _serve_attached(home, config, listen_fd, bind=bind, upstream=upstream, upstream_ca=upstream_ca)
        return
    settings = load_config(
        home,
        config,
        bind_address=bind,
        api_address=api,
        upstream=upstream,
        upstream_ca=upstream_ca,
        workers=workers,
        calibrate=calibrate or None,
    )
    _serve(settings, particular=config is not None or bool(given(settings, "env", "flag")))


def _serve(config: ClaudeProxyConfig, *, particular: bool) -> None:
    from claudeproxy.api.entry import serve as serve_api
    from claudeproxy.service import ClaudeProxy

    state = config.paths.state_file
    other = find_server(state)

    def started(addresses: ServiceAddresses) -> None:
        server = RunningServer(
            pid=os.getpid(),
            proxy=addresses.proxy[0],
            api=addresses.api,
            version=__version__,
            particular=particular,
        )
        write_state(state, server)
        print(banner(config, server), flush=True)
        if other:
            note(f"process {other.pid} serves from {config.home} too, on {url(other.proxy)}; `run` uses this one now")

    try:
        _run(config, ClaudeProxy(config, serve_api, recorder="process"), started)
    except ServeError as error:
        if other:
            raise ServeError(f"{error}. Process {other.pid} serves already, on {url(other.proxy)}") from None
        raise
    finally:
        remove_state(state, os.getpid(), before=other)


def _serve_attached(
    home: Path | None,
    config_file: Path | None,
    listen_fd: int | None,
    *,
    bind: str | None,
    upstream: str | None,
    upstream_ca: Path | None,
) -> None:
    """For `run`: announce the address on standard output, and end when standard input does.

    `listen_fd` is the descriptor of the socket that clients connect to, where `run` keeps one open.
    """
    announced = False

    def started(addresses: ServiceAddresses) -> None:
        nonlocal announced
        announced = True
        attached.announce(proxy=addresses.proxy[0])

    try:
        from claudeproxy.service import ClaudeProxy

        # One worker, whatever the file says: this serves one command, and `run` already starts it again when it dies.
        config = load_config(
            home, config_file, bind_address=bind, upstream=upstream, upstream_ca=upstream_ca, workers=1
        )
        listener = None if listen_fd is None else attached.inherited_listener(listen_fd)
        _run(config, ClaudeProxy(config, recorder="process", listener=listener), started, until_end_of_input=True)
    except Exception as error:
        if not announced:
            attached.announce_failure(error)
        raise


def _run(
    config: ClaudeProxyConfig,
    service: ClaudeProxy,
    started: Callable[[ServiceAddresses], None],
    *,
    until_end_of_input: bool = False,
) -> None:
    """Serve until the first signal (or the end of input). Raises what the service raises, out of its groups."""
    import trio

    from claudeproxy.logs import configure_logging
    from claudeproxy.memory import forget_loaded, return_large_blocks

    os.umask(0o077)  # whatever is written from here on is somebody's conversation
    return_large_blocks()
    config.paths.create()
    configure_logging(config.log_format, config.log_level)
    raise_limit()

    async def main() -> None:
        with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
            async with trio.open_nursery() as watchers:
                with trio.CancelScope() as running:
                    watchers.start_soon(_watch, signals, running, service, config.paths.state_file)
                    if until_end_of_input:
                        watchers.start_soon(_watch_input, running)
                    async with trio.open_nursery() as nursery:
                        started(await nursery.start(service.run))
                        forget_loaded()
                        await trio.sleep_forever()
                watchers.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        error = first_error(group)
        if isinstance(error, ConfigError):  # not the person's typing but the machine's state: a port that is taken
            raise ServeError(str(error)) from None
        raise error from None


class ServeError(ClaudeProxyError):
    """The service could not start."""


async def _watch(signals: AsyncIterator[int], running: trio.CancelScope, service: ClaudeProxy, state: Path) -> None:
    """First signal: stop, which drains. Second: leave at once; the journal keeps what was not recorded."""
    async for number in signals:
        if running.cancel_called:
            service.abandon()
            remove_state(state, os.getpid())
            os._exit(128 + number)
        if is_terminal(sys.stderr):
            note("stopping; running exchanges may end, press Ctrl-C again to leave at once")
        else:
            log.info("stopping", signal=signal.Signals(number).name)
        running.cancel()


async def _watch_input(running: trio.CancelScope) -> None:
    import trio

    # os.read and not sys.stdin: a thread that holds the lock of that object when Python ends is a fatal error.
    while await trio.to_thread.run_sync(os.read, 0, 64, abandon_on_cancel=True):
        pass
    running.cancel()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that matters of a group: one of ours before all others, at any depth."""
    ours, _ = group.split(ClaudeProxyError)
    error: BaseException = ours or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def banner(config: ClaudeProxyConfig, server: RunningServer) -> str:
    """What a person needs to know now: where it listens, the two lines that use it, and the shorter way."""
    proxy = server.proxy_url
    if config.proxy_auth is not None:
        proxy = proxy.replace("://", "://USER:PASSWORD@")
    flag = home_flag(config.paths)
    lines = [
        f"claudeproxy {server.version}: proxy on {proxy}" + (f", API on {server.api_url}" if server.api else ""),
        "to use it:",
        f"  {export('HTTPS_PROXY', proxy)}",
        f"  {export('NODE_EXTRA_CA_CERTS', str(config.ca_cert_path))}",
        f"or without either:  {program()} run{flag} -- claude",
        f"to look:  {program()} query{flag}",
    ]
    if not config.enabled:
        lines.insert(1, "enabled is false: nothing is decrypted or recorded")
    elif not config.capture_enabled:
        lines.insert(1, "capture_enabled is false: nothing is stored")
    elif (paused := paused_note(config.paths)) is not None:
        lines.insert(1, paused)
    return "\n".join(lines)


def export(name: str, value: str) -> str:
    """The line that sets a variable in the person's shell."""
    if os.name == "nt":
        return f'$env:{name} = "{value}"'
    return f"export {name}={shlex.quote(value)}"
