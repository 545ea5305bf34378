"""The messages of a WebSocket, as ``claudeproxy show`` prints them.

Apart from `show` because they take the place of everything that it says of a prompt.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from claudeproxy_cli.options import Format
from claudeproxy_cli.render import Column, emit, number, size
from claudeproxy_cli.times import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest
    from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream

FIRST: Final = 50  # messages in a table without --all
_BEGINNING: Final = 200  # bytes of a payload that may fit a line

COLUMNS: Final = (
    Column(key="index", title="#", align="right"),
    Column(key="after_ms", title="after", text=lambda value: milliseconds(float(str(value))), align="right"),
    Column(key="direction", title="way"),
    Column(key="opcode", title="kind"),
    Column(key="size", title="size", text=size, align="right"),
    Column(key="text", title="text", flexible=True, least=20),
)


def websocket_row(storage: CaptureStorage, request: CapturedRequest) -> dict[str, object] | None:
    """Both directions and every message, for JSON; None where the connection was not upgraded."""
    streams = storage.websocket(request.id)
    if not streams:
        return None
    from claudeproxy.export.websockets import websocket_object

    return websocket_object(streams, storage.websocket_messages(request.id))


def stream_facts(streams: Sequence[CapturedStream]) -> list[tuple[str, object]]:
    """A line for each direction, and one for what is wrong with it."""
    facts: list[tuple[str, object]] = []
    for one in streams:
        told = f"{number(one.messages)} message{'' if one.messages == 1 else 's'} in {number(one.length)} bytes"
        if one.kept.value in {"policy", "too_large", "dropped"}:
            told += f", {number(one.recorded)} of them recorded ({one.kept})"
        facts.append((str(one.direction), told))
        if one.undecodable_from is not None:
            facts.append(("", f"undecodable from byte {number(one.undecodable_from)}: {one.problem}"))
        elif one.problem is not None:
            facts.append(("", one.problem))
    return facts


def print_messages(storage: CaptureStorage, request: CapturedRequest, output: Format, *, everything: bool) -> None:
    """The messages in order, a line each; the first of them in a table without `everything`."""
    limit = FIRST if output is Format.TABLE and not everything else -1
    messages = storage.websocket_messages(request.id, limit=limit)
    if not messages and output is not Format.CSV:
        return
    if output is not Format.CSV:
        print()
    begun = request.instants.request_initiated
    emit([_row(one, begun) for one in messages], COLUMNS, output)
    total = storage.count_websocket_messages(request.id)
    if output is Format.TABLE and total > len(messages):
        print(f"and {number(total - len(messages))} more: --all")


def write_message(storage: CaptureStorage, request: CapturedRequest, index: int) -> None:
    """One payload, byte for byte. NotFoundError when there is no such message."""
    sys.stdout.buffer.write(storage.websocket_message(request.id, index).data)
    sys.stdout.buffer.flush()


def _row(one: CapturedMessage, begun: int) -> dict[str, object]:
    code, reason = one.close
    payload = one.payload(_BEGINNING)
    text = payload.text
    if text is None:
        text = " ".join(filter(None, (str(code or ""), reason))) if code else one.data[:_BEGINNING].hex(" ")
    return {
        "index": one.index,
        "after_ms": round((one.at - begun) / 1_000_000, 3),
        "direction": str(one.direction),
        "opcode": str(one.opcode) if one.complete else f"{one.opcode}, cut",
        "size": one.size,
        "text": text,
    }
