"""``claudeproxy run -- CMD``: any command, with its traffic to the API captured, and nothing else changed for it.

A running ``claudeproxy serve`` of the same home is used; otherwise a proxy of our own is started for the time of the
command (`attached`). Either is followed by another one on the same port when it dies (`kept`). Whatever goes wrong with
the proxy, the command runs: a tool to look at things must not be the reason that they do not work (``--strict`` turns
that round).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy.errors import ClaudeProxyError, StorageError
from claudeproxy_cli import bundle
from claudeproxy_cli.attached import AttachedServer, StartError
from claudeproxy_cli.child import CommandError, find_command, run_child
from claudeproxy_cli.client_settings import find_shadows
from claudeproxy_cli.environment import Launch, connect_environment, inherited, reverse_environment
from claudeproxy_cli.kept import KeptServer, open_listener
from claudeproxy_cli.options import ConfigOption, HomeOption, given, load_config
from claudeproxy_cli.render import is_terminal, note, plain
from claudeproxy_cli.running import RunningServer, find_server, reachable, url

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy_cli.environment import Inherited
    from claudeproxy_cli.kept import Start

# What the recorder may take beyond the drain: the supervisor's own limit and a little.
RECORD_SECONDS: Final = 12.0


REFUSED: Final = 125  # with --strict; as `env`, `timeout` and `docker run` end when it is they who failed


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="Example: claudeproxy run -- claude -p hello",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def command(
    arguments: Annotated[list[str], typer.Argument(metavar="CMD", help="The command, best after --.")],
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Use ANTHROPIC_BASE_URL: for clients that ignore proxies.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="When the proxy cannot start, end with 125 in place of running CMD.")
    ] = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Run a command with its API traffic captured.

    Uses a running `claudeproxy serve`, or a proxy of its own for as long as the command runs. When it dies, another one
    takes over on the same port. Terminal, signals and exit code pass through.
    """
    try:
        find_command(arguments[0], os.environ)
        code = _run(arguments, config, home, reverse=reverse, strict=strict)
    except CommandError as error:
        note(f"claudeproxy: {plain(str(error))}")
        code = error.code
    raise typer.Exit(code)


def _run(arguments: Sequence[str], config: Path | None, home: Path | None, *, reverse: bool, strict: bool) -> int:
    """Run the command behind a proxy, or without one when there can be none. Raises CommandError."""
    try:
        settings = load_config(home, config)
        proxy, launch = _prepare(settings, config, reverse=reverse)
    except (ClaudeProxyError, OSError) as error:
        reason = " ".join(str(error).split())
        if strict:
            note(f"claudeproxy: the proxy cannot start, and --strict refuses to run without: {reason}")
            return REFUSED
        note(f"claudeproxy: running without capture, the proxy cannot start: {reason}")
        return run_child(arguments, os.environ)
    return _captured(settings, proxy, launch, arguments, reverse=reverse)


def _captured(
    config: ClaudeProxyConfig, proxy: KeptServer, launch: Launch, arguments: Sequence[str], *, reverse: bool
) -> int:
    """Run the command behind the proxy, end our proxy, and write the receipt."""
    for line in launch.notes:
        note(f"claudeproxy: {plain(line)}")
    shadows = find_shadows(Path.cwd(), launch.environment)
    if "claude" in Path(arguments[0]).name:
        for shadow in shadows:
            note(f"claudeproxy: {plain(str(shadow))}, which overrides what `run` sets")
    since, started = time.time_ns(), time.monotonic()
    try:
        code = run_child(arguments, launch.environment)
    finally:
        seconds = time.monotonic() - started
        ended = proxy.stop(config.drain_seconds + RECORD_SECONDS)
    if not ended:
        note(f"claudeproxy: the proxy did not end in time; its log is {config.paths.log_file}")
    if is_terminal(sys.stderr):
        note("")  # the command's last line may lack its end
    for sentence in _unsaid:
        note(f"claudeproxy: {plain(sentence)}")
    for line in _receipt(config, proxy, launch.environment, since, seconds, reverse=reverse):
        note(line)
    return code


def _receipt(
    config: ClaudeProxyConfig,
    proxy: KeptServer,
    environment: Mapping[str, str],
    since: int,
    seconds: float,
    *,
    reverse: bool,
) -> list[str]:
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy_cli.receipt import nothing_captured, read_receipt, wait_until_recorded, wait_until_settled

    try:
        if config.database_path.exists():
            storage = CaptureStorage(config.database_path, read_only=True)
            try:
                if proxy.own:
                    wait_until_recorded(config.journal_path, proxy.pids)
                else:
                    wait_until_settled(storage, since, proxy.pids)
                receipt = read_receipt(storage, since, proxy.pids)
            finally:
                storage.close()
            if receipt.requests:
                return receipt.lines(home=config.paths, since=since, seconds=seconds)
    except StorageError as error:
        return [f"claudeproxy: what was captured cannot be read: {error}"]
    return nothing_captured(config, environment, find_shadows(Path.cwd(), environment), reverse=reverse)


def _prepare(config: ClaudeProxyConfig, config_file: Path | None, *, reverse: bool) -> tuple[KeptServer, Launch]:
    """A proxy that listens, and the child's environment. Raises what keeps it from starting."""
    config.paths.create()
    running = find_server(config.paths.state_file)
    ours = [running.proxy_url] if running else []
    way = inherited(os.environ, reverse=reverse, ours=ours)
    wanted = overrides(config, way, os.environ, ours=_own_certificate_files(config))
    # A server that runs already goes its own way: a proxy, gateway or setting of the caller's needs one that takes it.
    own_way = (
        wanted.keys() & {"CLAUDEPROXY_UPSTREAM_PROXY", "CLAUDEPROXY_UPSTREAM"} or config_file or given(config, "env")
    )

    def start(listener: socket.socket | None, address: tuple[str, int]) -> AttachedServer:
        flags = () if listener is not None else ("--bind", f"{address[0]}:{address[1]}")
        environment = {**os.environ, **wanted}
        return AttachedServer.start(config.paths, config_file, environment=environment, flags=flags, listener=listener)

    proxy = _keep(start, None if own_way else running)
    try:
        launch = _launch(config, proxy, way, reverse=reverse)
    except BaseException:
        proxy.stop(RECORD_SECONDS)
        raise
    return proxy, Launch(environment=launch.environment, notes=(*way.notes, *launch.notes))


def _keep(start: Start, running: RunningServer | None) -> KeptServer:
    """The proxy to use: the one that runs, or one of our own. Raises StartError."""
    if running:
        address = reachable(running.proxy)
        follow = None if running.particular else start
        return KeptServer(follow, address=address, pid=running.pid, server=None, listener=None, say=_say)
    listener = None if os.name == "nt" else _listener()
    try:
        server = start(listener, ("127.0.0.1", 0))
    except BaseException:
        if listener is not None:
            listener.close()
        raise
    return KeptServer(start, address=server.address, pid=server.pid, server=server, listener=listener, say=_say)


def _listener() -> socket.socket:
    try:
        return open_listener(("127.0.0.1", 0))
    except OSError as error:
        raise StartError(f"no port can be had: {error.strerror}") from error


_unsaid: list[str] = []  # while the command has the terminal: nothing of ours may run into its screen


def _say(sentence: str) -> None:
    if is_terminal(sys.stderr):
        _unsaid.append(sentence)
    else:
        note(f"claudeproxy: {plain(sentence)}")


def overrides(
    config: ClaudeProxyConfig, way: Inherited, caller: Mapping[str, str], *, ours: Sequence[str]
) -> dict[str, str]:
    """What our own proxy takes over from the caller's environment, unless the configuration says otherwise."""
    wanted = {}
    if way.upstream_proxy and config.upstream_proxy is None:
        wanted["CLAUDEPROXY_UPSTREAM_PROXY"] = way.upstream_proxy
    if way.upstream and config.upstream is None:
        wanted["CLAUDEPROXY_UPSTREAM"] = way.upstream
    extra = caller.get("NODE_EXTRA_CA_CERTS")
    if extra and extra not in ours and config.upstream_ca is None and Path(extra).is_file():
        wanted["CLAUDEPROXY_UPSTREAM_CA"] = extra  # a company's CA that the client had to trust, so we have to
    return wanted


def _own_certificate_files(config: ClaudeProxyConfig) -> list[str]:
    own = [str(path) for path in config.home.glob(f"{config.paths.bundle.stem}*.pem")]
    return [str(config.ca_cert_path), *own]


def _launch(config: ClaudeProxyConfig, proxy: KeptServer, way: Inherited, *, reverse: bool) -> Launch:
    address = url(proxy.address)
    if reverse:
        return reverse_environment(os.environ, base_url=address, gateway=way.upstream is not None)
    ours = bundle.certificates(config.ca_cert_path.read_bytes())
    theirs = bundle.caller_certificates(os.environ, ours=ours)
    combined = bundle.write_bundle(config.paths.bundle, (bundle.system_certificates(), theirs, ours), variant=theirs)
    return connect_environment(
        os.environ,
        proxy_url=address,
        proxy_auth=None if config.proxy_auth is None else config.proxy_auth.get_secret_value(),
        # Node adds this file to its own store; a caller's own certificates must stay in it.
        node_ca=combined if theirs else config.ca_cert_path,
        bundle=combined,
        api_hosts=config.api_hosts,
    )
