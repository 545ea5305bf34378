"""What recording one turn costs, and what its numbers weigh on disk.

    uv run benchmarks/accounting.py [--turns N] [--around BYTES]

A long conversation of a coding agent against the mock's bill: each request is recorded in flight, attributed and
predicted, then recorded as it ended and settled. Printed: CPU by step for the requests of some 200 KB (or so many
bytes; a tenth more or less), how much of the database is accounting (tokens of nodes, corrections, ledgers, rates),
and that everything adds up to the bills.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import Prose

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer
from claudeproxy.logs import configure_logging
from claudeproxy.model import (
    Answer,
    BodyKept,
    EntryMode,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
)
from claudeproxy.sansio.answer import read_usage
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.bill import PromptCache, count_tokens, prompt_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "claude-opus-4-8"
SYSTEM_BYTES, TOOLS, TOOL_BYTES, RESULT_BYTES = 20_000, 25, 1_500, 900
AROUND = 200_000  # bytes of the requests that are measured, and a tenth more or less
START = 1_790_000_000_000_000_000
HEADERS = ((b"user-agent", b"claude-cli/2.1.330 (external, cli)"), (b"x-claude-code-session-id", b"session"))
TABLES = ("node_tokens", "accounts", "ledgers", "ledger_pages", "rates")

Block = dict[str, object]


def conversation(turns: int) -> Iterator[tuple[bytes, list[Block]]]:
    """Yield the body of each request and the content of its answer: one prompt, then a loop of tool calls."""
    prose = Prose(1)
    tools = [_tool(f"Tool{n}", prose) for n in range(TOOLS)]
    system = [{"type": "text", "text": prose.text(SYSTEM_BYTES), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    messages: list[dict[str, object]] = [{"role": "user", "content": [_text(prose.text(300))]}]
    for turn in range(turns):
        *head, last = messages[-1]["content"]  # type: ignore[misc]
        sent = [*messages[:-1], {"role": "user", "content": [*head, {**last, "cache_control": {"type": "ephemeral"}}]}]
        request = {"model": MODEL, "max_tokens": 32000, "system": system, "tools": tools, "messages": sent}
        call = {"type": "tool_use", "id": f"toolu_{turn:020}", "name": "Tool3", "input": {"path": prose.text(60)}}
        content: list[Block] = [_text(prose.text(200)), call]
        yield json.dumps(request, separators=(",", ":")).encode(), content
        messages.append({"role": "assistant", "content": content})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": prose.text(RESULT_BYTES)}
        messages.append({"role": "user", "content": [result]})


def run(turns: int, path: Path, around: int = AROUND) -> None:
    measured = range(around * 9 // 10, around * 11 // 10)
    cpu: dict[str, list[float]] = defaultdict(list)
    cache, wrong, totals = PromptCache(), 0, 0
    configure_logging(level="error")
    with CaptureStorage(path) as storage:
        explainer = Explainer(storage, AttributionEngine())
        for number, (body, content) in enumerate(conversation(turns)):
            bill = cache.bill(MODEL, prompt_blocks(json.loads(body)), now=float(number))
            usage = read_usage({**bill.usage(), "output_tokens": sum(count_tokens(json.dumps(b)) for b in content)})
            message = {"type": "message", "role": "assistant", "model": MODEL, "content": content}
            answer = Answer(message=message, model=MODEL, stop_reason="tool_use", usage=usage)
            begun, ended = _exchange(number, body, None), _exchange(number, body, answer)
            spent = {}
            clock = time.process_time
            at = clock()
            (request_id,) = storage.record([begun], {})
            spent["record"] = (then := clock()) - at
            explainer.explain(request_id, body, HEADERS, began=START + number, url=begun.url)
            spent["attribute, predict"] = (at := clock()) - then
            storage.record([ended], {})
            spent["record the end"] = (then := clock()) - at
            explainer.settle(request_id, ended)
            spent["settle"] = clock() - then
            spent["all"] = sum(spent.values())
            if len(body) in measured:
                for name, seconds in spent.items():
                    cpu[name].append(seconds * 1000)
            wrong += storage.get_request(request_id).total_tokens != bill.total
            totals += bill.total
        for name, milliseconds in cpu.items():
            ordered = sorted(milliseconds)
            print(f"{name:20} {statistics.median(ordered):6.1f} ms, p95 {ordered[int(len(ordered) * 0.95)]:6.1f} ms")
        run = storage._connection.execute
        sums = run("SELECT sum(tokens) FROM request_sources WHERE NOT output").fetchone()[0]
        cost = run("SELECT (SELECT sum(cost) FROM request_sources) = (SELECT sum(cost) FROM requests)").fetchone()[0]
        sizes = f"{measured.start} to {measured.stop} bytes"
        print(f"{len(cpu['all'])} requests of {sizes}, of {turns}, the last of {len(body)}")
        print(f"totals that are not the bill's: {wrong}; sources against bills: {sums - totals}; money: {bool(cost)}")
        bytes_of = {t: run("SELECT sum(pgsize) FROM dbstat WHERE name = ?", (t,)).fetchone()[0] for t in TABLES}
        print(f"accounting on disk: {sum(bytes_of.values()) / 1e6:.3f} MB {bytes_of}")


def _exchange(number: int, body: bytes, answer: Answer | None) -> RecordedExchange:
    said = b"" if answer is None else json.dumps(answer.message).encode()
    response = None
    if answer is not None:
        response = RecordedResponse(
            status_code=200,
            reason="OK",
            http_version="1.1",
            headers=((b"content-type", b"application/json"),),
            trailers=(),
            origin="upstream",
            body=RecordedBody(kept=BodyKept.WHOLE, data=said, length=len(said)),
            answer=answer,
        )
    return RecordedExchange(
        correlation_id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        owner="relay",
        state=State.IN_FLIGHT if answer is None else State.COMPLETE,
        entry_mode=EntryMode.CONNECT,
        method="POST",
        url="https://api.anthropic.com/v1/messages",
        upstream_url="https://api.anthropic.com/v1/messages",
        http_version="1.1",
        headers=HEADERS,
        api_key_hash=None,
        instants=Instants(request_initiated=START + number),
        request_body=RecordedBody(kept=BodyKept.WHOLE, data=body, length=len(body)),
        response=response,
    )


def _tool(name: str, prose: Prose) -> Block:
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": prose.text(80)}}}
    return {"name": name, "description": prose.text(TOOL_BYTES), "input_schema": schema}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=120)
    parser.add_argument("--around", type=int, default=AROUND)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run(arguments.turns, Path(directory) / "captures.db", arguments.around)
