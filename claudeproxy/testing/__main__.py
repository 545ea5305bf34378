"""``python -m claudeproxy.testing``: the scripted API as a server of its own, for shell scripts and other languages.

Prints the URL it listens at, once it does, and serves until Ctrl-C. It gives everybody the same answer: who wants a
script writes Python and uses `MockUpstream`.
"""

from __future__ import annotations

import argparse

import trio

from claudeproxy.testing.replies import text
from claudeproxy.testing.scripts import always
from claudeproxy.testing.server import MockUpstream


def main(arguments: list[str] | None = None) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m claudeproxy.testing",
        description="A scripted Messages API on 127.0.0.1: the same answer to every message, with a bill that adds up.",
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0, the default: where there is room")
    parser.add_argument("--reply", default="Hello from the scripted API.", metavar="TEXT", help="what it answers")
    options = parser.parse_args(arguments)

    async def serve() -> None:
        mock = MockUpstream(always(text(options.reply)), port=options.port, keep_bodies=False)
        async with trio.open_nursery() as nursery:
            await nursery.start(mock.run)
            print(mock.url, flush=True)  # noqa: T201 - its only output, for whoever started it

    try:
        trio.run(serve)
    except* KeyboardInterrupt:
        pass
    except* OSError as group:
        parser.exit(1, f"{parser.prog}: cannot listen on port {options.port}: {group.exceptions[0]}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
