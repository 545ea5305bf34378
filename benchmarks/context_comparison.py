"""This engine against the client's own `/context`, per source type, on one session of the real Claude Code.

    uv run benchmarks/context_comparison.py [--output FILE]

Drives the planted session of tests/accuracy behind the proxy, asks the client for ``/context --output-format json``
and writes docs/reference/context-comparison.md. Both sides speak of the same request, the session's last one, and in
the same unit: the mock API counts one token for four bytes, in its bills and in its answers to ``count_tokens``, from
which the client makes its figures. So the table shows who divides a prompt how, not who guesses tokens better.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from claudeproxy.logs import configure_logging  # noqa: E402 - the tests' session is found from the root only
from claudeproxy.model import SourceType  # noqa: E402
from claudeproxy.sansio.messages import BILLING_HEADER, exact_block, layout  # noqa: E402
from claudeproxy.store.storage import CaptureStorage  # noqa: E402
from claudeproxy.store.values import RequestFilters  # noqa: E402
from tests.accuracy.session import APPEND, MATRIX, MENTIONS, ONE, Setting, connected  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.store.values import CapturedRequest

PAGE = ROOT / "docs" / "reference" / "context-comparison.md"
BYTES_PER_TOKEN = 4  # claudeproxy.testing.bill
_ROW = re.compile(r"^\| (?P<name>[A-Z][^|]*?) \| (?P<tokens>[\d.]+[km]?) \| [\d.]+% \|$", re.MULTILINE)
_TOTAL = re.compile(r"\*\*Tokens:\*\* (?P<tokens>[\d.]+[km]?) /")

# Which of the client's categories speak of a source type; every other type is somewhere in its "Messages".
CATEGORIES: Mapping[SourceType, tuple[str, ...]] = {
    SourceType.FRAMEWORK: ("System prompt",),
    SourceType.TOOL: ("System tools",),
    SourceType.MCP_SERVER: ("MCP tools", "MCP server instructions"),
    SourceType.MEMORY: ("Memory files",),
    SourceType.SKILL: ("Skills",),
    SourceType.AGENT: ("Custom agents",),
}
OUTSIDE = ("Free space", "Autocompact buffer", "System tools (deferred)", "MCP tools (deferred)")

HEAD = """# Beside the client's own `/context`

<!-- Made by `uv run benchmarks/context_comparison.py` from a real run. -->

Claude Code {version} ({mode}) works through a planted session of {requests} requests, then says itself what is in its
context (`/context --output-format json`). Here is what it says, beside what this proxy found in the session's last
request. Both count one token for four bytes, as the mock API behind them bills, so the figures differ only in *what* is
counted *where*. The last request was billed {billed} tokens; the client says {total}, the proxy divides {divided}.
"""
NOTES = """The client's "Messages" is what is left of the bill after its other categories. Hooks, results, mentioned
files, listings of built-in agents and of deferred tools, reminders and the environment disappear in it, and each
mistake of another category shows up there with the opposite sign. Calls and results of MCP servers, bodies of skills
and results of agents count for their source here, but as "Messages" there. Structure is JSON around the text.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One session, seen by both."""

    setting: Setting
    requests: int
    billed: int
    client: Mapping[str, float]  # category to tokens
    client_total: float
    types: Counter[SourceType]  # bytes
    structure: int  # bytes


def tokens(text: str) -> float:
    """Read ``1.9k``."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1], 1)
    return float(text.rstrip("km")) * scale


async def compare(setting: Setting, root: Path) -> Comparison:
    """Drive the session and read both sides."""
    async with connected(setting, root) as client:
        session = await client.say(ONE, "--append-system-prompt", APPEND)
        for prompt in (MENTIONS, "/vectorize zz-skill-args-zz"):
            session = await client.say(prompt, "--resume", session, "--append-system-prompt", APPEND)
        said = (await client.run("/context", "--resume", session, "--append-system-prompt", APPEND)).result
    total = _TOTAL.search(said)
    assert total is not None, said
    with CaptureStorage(root / "captures" / "captures.db", read_only=True) as storage:
        rows = storage.query_requests(RequestFilters(limit=10_000)).rows  # the newest first
        messages = [row for row in rows if row.url.split("?")[0].endswith("/v1/messages")]
        types, structure = divided(storage, messages[0])
        usage = json.loads(storage.response_body(messages[0].id).split(b"data: ", 2)[1].split(b"\n")[0])
    counts = usage["message"]["usage"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Comparison(
        setting=setting,
        requests=len(messages),
        billed=sum(counts[name] for name in names),
        client={row["name"]: tokens(row["tokens"]) for row in _ROW.finditer(said)},
        client_total=tokens(total["tokens"]),
        types=types,
        structure=structure,
    )


def divided(storage: CaptureStorage, row: CapturedRequest) -> tuple[Counter[SourceType], int]:
    """Bytes of the request's blocks by source type, and what is structure."""
    types: Counter[SourceType] = Counter()
    structure = 0
    for span in storage.attributions(row.id):
        if span.byte_start is None or span.byte_end is None:
            continue  # outside the prompt, or the billing header, which the API does not count
        size = span.byte_end - span.byte_start
        if span.source.type is SourceType.OVERHEAD:
            structure += size
        else:
            types[span.source.type] += size
    blocks = [
        exact_block(row.body, block) for block in layout(row.body).blocks
    ]  # without cache_control: it is no prompt
    prompt = sum(len(block) for block in blocks if BILLING_HEADER.encode() not in block[:60])
    assert sum(types.values()) + structure == prompt, "bytes are missing"
    return types, structure


def page(found: Comparison) -> str:
    """Return the page in Markdown."""
    divided = sum(found.types.values()) + found.structure
    head = HEAD.format(
        version=found.setting.version,
        mode=found.setting.mode,
        requests=found.requests,
        billed=f"{found.billed:,}",
        total=f"{found.client_total:,.0f}",
        divided=f"{divided // BYTES_PER_TOKEN:,}",
    )
    lines = [head, "| source type | this proxy | `/context` | where it counts that |", "|---|--:|--:|---|"]
    for kind, size in found.types.most_common():
        named = CATEGORIES.get(kind, ())
        theirs = sum(found.client.get(name, 0) for name in named)
        shown, where = (f"{theirs:,.0f}", ", ".join(named)) if named else ("-", "in Messages")
        lines.append(f"| {kind} | {size // BYTES_PER_TOKEN:,} | {shown} | {where} |")
    lines.append(f"| structure | {found.structure // BYTES_PER_TOKEN:,} | - | spread over all |")
    lines.append(f"| | | {found.client.get('Messages', 0):,.0f} | Messages |")
    lines.append(f"| **total** | **{divided // BYTES_PER_TOKEN:,}** | **{found.client_total:,.0f}** | |")
    outside = [f"{name} {found.client[name]:,.0f}" for name in OUTSIDE if name in found.client]
    return "\n".join([*lines, "", f"Not in the context, but on the client's list: {', '.join(outside)}.", "", NOTES])


def main() -> int:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PAGE)
    given = parser.parse_args()
    configure_logging("json", "error")
    with tempfile.TemporaryDirectory(prefix="context-") as folder:
        found = trio.run(compare, MATRIX[0], Path(folder).resolve())
    given.output.write_text(page(found), encoding="utf-8")
    print(given.output.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
