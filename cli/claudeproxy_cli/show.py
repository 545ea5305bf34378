"""``claudeproxy show ID``: one request in full, or its exact bytes, or a command that sends it again."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy.errors import NotFoundError
from claudeproxy_cli.breakdown import by_kind, by_type, piece_rows, print_output, print_pieces, print_sources
from claudeproxy_cli.listing import KIND_COLUMNS, open_captures, request_row, source_rows, with_tokens
from claudeproxy_cli.messages import print_messages, stream_facts, websocket_row, write_message
from claudeproxy_cli.money import boundaries, in_prompt_order, told_cost, told_output, told_prompt, told_tokens
from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    output_format,
    reader_home,
)
from claudeproxy_cli.render import dump, emit, is_terminal, number, plain, write_json
from claudeproxy_cli.times import iso, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, CapturedResponse, SourceTotal

REDACTED: Final = "[REDACTED]"

# Made by curl itself, or true of the connection and not of the request.
_NOT_REPEATED: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "proxy-connection", "keep-alive", "accept-encoding"}
    # The body is kept decoded, so it goes out decoded.
    | {"content-encoding", "expect"}
)

_INSTANTS: Final = (
    ("request_initiated", "first byte of the request"),
    ("proxy_received", "its last byte"),
    ("forwarded", "given to the API"),
    ("response_received", "first byte of the answer"),
    ("delivered", "last byte given to the client"),
)


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy show 3f2a91c0 --body | jq .system")
def command(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id or unique beginning of one; see `query`.")],  # noqa: A002
    body: Annotated[bool, typer.Option("--body", help="Write the request's body, byte for byte.")] = False,
    response_body: Annotated[bool, typer.Option("--response-body", help="Write the response's body likewise.")] = False,
    message: Annotated[
        int | None, typer.Option("--message", metavar="N", min=0, help="Write message N of a WebSocket likewise.")
    ] = None,
    curl: Annotated[bool, typer.Option("--curl", help="Print a curl command that sends it again.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List the smallest sources, and all messages.")] = False,
    pieces: Annotated[
        bool, typer.Option("--pieces", help="In prompt order, piece by piece, with lines where the cache ends.")
    ] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Show a request, where its context came from and what it cost.

    A number with a ~ is an estimate that no bill has settled. Costs of the parts add up to the bill.
    """
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    if body + response_body + curl + pieces + (message is not None) > 1:
        raise typer.BadParameter("give one of --body, --response-body, --message, --curl and --pieces")
    storage = open_captures(reader_home(home, config))
    try:
        request = storage.get_request(id)
        if body:
            _write(request.body, kept=str(request.body_kept), what="request")
        elif response_body:
            answer = _response(storage, request)
            if answer is None:
                raise NotFoundError(f"request {request.id} has no response ({request.state})")
            _write(answer.body, kept=str(answer.body_kept), what="response")
        elif message is not None:
            write_message(storage, request, message)
        elif curl:
            print(curl_command(request))
        else:
            show(storage, request, output, everything=everything, pieces=pieces)
    finally:
        storage.close()


def show(
    storage: CaptureStorage,
    request: CapturedRequest,
    output: Format,
    *,
    everything: bool = False,
    pieces: bool = False,
) -> None:
    """Write one request in the given form; CSV carries the source breakdown, a table all sources with `everything`.

    Of a WebSocket it is the messages.
    With `pieces` its prompt, piece by piece, in place of the breakdown.
    """
    response = _response(storage, request)
    sources = storage.sources(request.id)
    generated = storage.sources(request.id, output=True)
    attributions = storage.attributions(request.id)
    ordered = in_prompt_order(attributions)
    if output in {Format.JSON, Format.JSONL}:
        row = {**request_row(request, sources), **_details(request), "kinds": by_kind(attributions)}
        row["output"] = source_rows(generated)
        if pieces:
            row["pieces"] = piece_rows(ordered)
        row["response"] = None if response is None else _response_row(response)
        row["websocket"] = websocket_row(storage, request)
        write_json(row) if output is Format.JSON else print(dump(row, indent=None))
        return
    if pieces and output is not Format.TABLE:
        print_pieces(piece_rows(ordered), output, everything=everything)
        return
    streams = storage.websocket(request.id)
    if output is Format.CSV:
        if streams:
            print_messages(storage, request, output, everything=everything)
        else:
            emit(by_kind(attributions) or source_rows(sources), KIND_COLUMNS, output)
        return
    rows = with_tokens(source_rows(sources))
    for line in summary(request, response, rows, generated, cache=boundaries(ordered)):
        print(line)
    for name, value in stream_facts(streams):
        print(f"{name:<13}{plain(str(value))}")
    print_messages(storage, request, output, everything=everything)
    if pieces:
        print()
        print_pieces(piece_rows(ordered), output, everything=everything)
        return
    if rows:
        print()
        print_sources(rows, by_kind(attributions), output, everything=everything)
    if generated:
        print()
        print_output(source_rows(generated), output)


def summary(
    request: CapturedRequest,
    response: CapturedResponse | None,
    sources: Sequence[dict[str, object]] = (),
    generated: Sequence[SourceTotal] = (),
    *,
    cache: str = "",
) -> list[str]:
    """The request, its instants and its answer, a line a fact; safe to print."""
    who = request.identity
    facts: list[tuple[str, object]] = [
        ("request", request.id),
        ("", f"{request.method} {request.url}"),
        ("state", request.state if not request.error else f"{request.state}: {request.error}"),
        ("client", " ".join(filter(None, (who.client, who.client_version, f"({request.entry_mode})")))),
        ("model", request.model),
        ("class", who.request_class),
        ("session", who.session_id),
        ("agent", who.agent_id and " ".join(filter(None, (who.agent_type, who.agent_id)))),
        ("called by", who.parent_agent_id),
        ("project", who.project),
        ("turn", request.lineage.turn_index and _turn(request)),
        ("follows", request.lineage.parent_request_id),
        ("retry of", request.lineage.retry_of),
        ("context", f"{told_tokens(request)} in {number(request.body_length)} bytes"),
        ("", by_type(sources)),
        ("cost", told_cost(request, generated)),
        ("billed", response and told_prompt(response.usage)),
        ("", response and told_output(response.usage)),
        ("cache", cache),
        ("", request.effective and "with the conversation that it continues; paths refer to the whole"),
        ("", not request.context_complete and "began before it could be captured: part of it was never seen"),
    ]
    start = request.instants.request_initiated
    facts.append(("time", f"{iso(start)}  {_INSTANTS[0][1]}"))
    for name, meaning in _INSTANTS[1:]:
        at = getattr(request.instants, name)
        if at is not None:
            facts.append(("", f"+{milliseconds((at - start) / 1_000_000):<8}{meaning}"))
    facts.append(("proxy added", milliseconds(request.proxy_latency_ms)))
    if response is not None:
        facts += _response_facts(response)
    return [f"{name:<13}{plain(str(value))}" for name, value in facts if value]


def _turn(request: CapturedRequest) -> str:
    return f"{request.lineage.turn_index}, prompt {request.lineage.prompt_index}"


def _response_facts(response: CapturedResponse) -> list[tuple[str, object]]:
    made_here = " (made by claudeproxy)" if response.origin == "proxy" else ""
    return [
        ("answer", f"{response.status_code} {response.reason}".rstrip() + made_here),
        ("stopped", response.stop_reason),
        ("error", response.error_type),
        ("request-id", response.request_id_header),
    ]


def curl_command(request: CapturedRequest) -> str:
    """A command that sends the request again, with the person's own key where one was taken out."""
    lines = [f"claudeproxy show {request.id} --body |", f"curl --no-buffer --compressed -X {request.method}"]
    for name, value in request.headers:
        if name.lower() in _NOT_REPEATED:
            continue
        if REDACTED not in value:
            lines.append(f"-H {shlex.quote(f'{name}: {plain(value)}')}")
        elif name.lower() == "x-api-key":
            lines.append(f'-H "{name}: $ANTHROPIC_API_KEY"')
        elif name.lower() == "authorization":
            lines.append(f'-H "{name}: Bearer $ANTHROPIC_AUTH_TOKEN"')
    if not request.body_length:
        return " \\\n  ".join([*lines[1:], shlex.quote(request.url)])
    return f"{lines[0]}\n" + " \\\n  ".join([*lines[1:], "--data-binary @-", shlex.quote(request.url)])


def _response(storage: CaptureStorage, request: CapturedRequest) -> CapturedResponse | None:
    return None if request.status_code is None else storage.get_response(request.id)


def _details(request: CapturedRequest) -> dict[str, object]:
    instants = {name: iso(getattr(request.instants, name)) for name, _ in _INSTANTS}
    return {
        **instants,
        "upstream_url": request.upstream_url,
        "entry_mode": str(request.entry_mode),
        "client": request.identity.client,
        "client_version": request.identity.client_version,
        "effective": request.effective,
        "context_complete": request.context_complete,
        "error": request.error,
        "header_list": [list(pair) for pair in request.headers],
        "body_kept": str(request.body_kept),
        "body_length": request.body_length,
        "body_sha256": request.body_sha256,
    }


def _response_row(response: CapturedResponse) -> dict[str, object]:
    usage = response.usage
    return {
        "id": response.id,
        "timestamp": iso(response.timestamp),
        "status_code": response.status_code,
        "origin": response.origin,
        "latency_ms": response.latency_ms,
        "proxy_latency_ms": response.proxy_latency_ms,
        "response_tokens": response.response_tokens,
        "stop_reason": response.stop_reason,
        "error_type": response.error_type,
        "message_id": response.message_id,
        "request_id_header": response.request_id_header,
        "header_list": [list(pair) for pair in response.headers],
        "usage": {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
            "cache_creation_5m": usage.cache_creation_5m,
            "cache_creation_1h": usage.cache_creation_1h,
            "output_tokens": usage.output_tokens,
            "thinking_tokens": usage.thinking_tokens,
        },
    }


def _write(body: bytes, *, kept: str, what: str) -> None:
    if not body and kept not in {"whole", "empty"}:
        raise NotFoundError(f"the {what}'s body is not in the record: {kept}")
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
