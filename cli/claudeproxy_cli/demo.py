"""``claudeproxy demo``: the whole thing once, with a scripted API in place of the real one.

A mock of the Messages API, a real proxy in front of it, and a client that sends a conversation through it as Claude
Code does (CONNECT, then TLS). What it prints is what `query` and `show` print, from the same code.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy.config.home import Home
from claudeproxy.errors import ClaudeProxyError
from claudeproxy_cli.listing import local_now, request_columns, request_row, shown
from claudeproxy_cli.options import ConfigOption, Format, HomeOption, home_flag, load_config, program
from claudeproxy_cli.render import emit, note

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterable

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.testing.client import Turn


class DemoError(ClaudeProxyError):
    """The scripted conversation did not go as scripted: a fault of ours."""


API: Final = "api.anthropic.com"  # what the client believes it talks to
_ANSWER_SECONDS: Final = 30.0  # the mock answers in milliseconds; this is for a machine that is on its knees


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy demo")
def command(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the captures, and say how to look at them.")] = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Show it all at work, without key or network.

    Captures a scripted conversation with two MCP servers, a skill, memory, hooks and a subagent. With --home DIR it is
    kept there.
    """
    place = home or Path(tempfile.mkdtemp(prefix="claudeproxy-demo-"))
    try:
        _demo(place, config)
        print()
        if keep or home:
            flag = home_flag(Home(path=place.absolute()))
            print(f"kept in {place}; look at it:  {program()} query{flag}")
        print(f"now your own:  {program()} run -- claude")
    finally:
        if not (keep or home):
            shutil.rmtree(place, ignore_errors=True)


def _demo(home: Path, config_file: Path | None) -> None:
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters
    from claudeproxy.testing.conversations import demo_conversation
    from claudeproxy_cli.show import show

    turns = demo_conversation()
    note(f"a scripted conversation: {len(turns)} requests, through a real proxy, to a scripted API\n")
    settings = _capture(turns, home, config_file)
    storage = CaptureStorage(settings.database_path, read_only=True)
    try:
        requests = storage.query_requests(RequestFilters(limit=len(turns))).rows
        rows = [request_row(request, storage.sources(request.id)) for request in requests]
        print("$ claudeproxy query")
        emit(shown(rows), request_columns(local_now(), Format.TABLE), Format.TABLE)
        largest = max(requests, key=lambda request: request.total_tokens or 0)
        print(f"\n$ claudeproxy show {largest.id[:8]}")
        show(storage, largest, Format.TABLE)
    finally:
        storage.close()


def _capture(turns: list[Turn], home: Path, config_file: Path | None) -> ClaudeProxyConfig:
    """Drive the turns through a proxy with its home there; when this returns, all is stored and explained."""
    import trio

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.service import ClaudeProxy
    from claudeproxy.testing import MockUpstream
    from claudeproxy.testing.conversations import prompt_fingerprints, script_for
    from claudeproxy_cli.serve import first_error

    async def main() -> ClaudeProxyConfig:
        mock = MockUpstream(script_for(turns))
        async with trio.open_nursery() as outside:
            await outside.start(mock.run)
            values = {"bind_address": "127.0.0.1:0", "api_address": "127.0.0.1:0", "upstream": mock.url}
            settings = (
                ClaudeProxyConfig.isolated(home=home, **values)
                if config_file is None
                else load_config(home, config_file, workers=1, **values)  # one is enough, and sooner there
            )
            async with trio.open_nursery() as inside:
                addresses = await inside.start(ClaudeProxy(settings, fingerprints=prompt_fingerprints()).run)
                await trio.to_thread.run_sync(_drive, turns, addresses.proxy[0], settings.ca_cert_path)
                inside.cancel_scope.cancel()  # drains, and ends when the recorder has read everything
            outside.cancel_scope.cancel()
        return settings

    try:
        from claudeproxy.logs import configure_logging

        configure_logging("console", "warning")
        return trio.run(main)
    except BaseExceptionGroup as group:
        raise first_error(group) from None


def _drive(turns: Iterable[Turn], proxy: tuple[str, int], ca: Path) -> None:
    """A client as simple as can be: one kept-alive connection, through the proxy, trusting its CA only."""
    import http.client
    import ssl

    connection = http.client.HTTPSConnection(
        *proxy, context=ssl.create_default_context(cafile=str(ca)), timeout=_ANSWER_SECONDS
    )
    connection.set_tunnel(API, 443)
    try:
        for turn in turns:
            _send(connection, turn)
    finally:
        connection.close()


def _send(connection: http.client.HTTPSConnection, turn: Turn) -> None:
    connection.putrequest("POST", turn.target, skip_host=True, skip_accept_encoding=True)
    for name, value in (*turn.headers, (b"Host", API.encode()), (b"Content-Length", b"%d" % len(turn.body))):
        connection.putheader(name, value)
    connection.endheaders(turn.body)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise DemoError(f"the request {turn.label!r} was answered with {answer.status}: {body[:200]!r}")
