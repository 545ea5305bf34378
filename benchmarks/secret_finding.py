"""What looking for secrets costs: megabytes a second of ordinary text, microseconds for a streamed event.

uv run python benchmarks/secret_finding.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from claudeproxy.capture.finder import SecretFinder
from claudeproxy.capture.known import KNOWN

EVENT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"and then the next few words"}}\n\n'
)


def main() -> None:
    """Measure both and print them."""
    finder = SecretFinder(KNOWN, key=bytes(16))
    readme = Path(__file__).resolve().parent.parent / "README.md"
    body = json.dumps({"text": readme.read_text(encoding="utf-8") * 100}).encode()
    began = time.process_time()
    finder.scan(body)
    seconds = time.process_time() - began
    print(f"{len(finder.markers)} markers, at most {finder.reach:,} bytes held back")
    print(f"a body of {len(body):,} bytes: {seconds * 1e3:.1f} ms, {len(body) / seconds / 1e6:.0f} MB/s")
    stream, events = finder.stream(), 2000
    began = time.process_time()
    for _ in range(events):
        stream.feed(EVENT)
    print(f"an event of {len(EVENT)} bytes: {(time.process_time() - began) / events * 1e6:.1f} us")


if __name__ == "__main__":
    main()
