"""Runs the whole matrix of real clients and writes docs/reference/attribution-accuracy.md.

    uv run python -m tests.accuracy [--only WORDS] [--output FILE]

`--only` chooses the settings whose text ("2.1.330 connect claude-opus-5-5") holds these words, and writes nothing
unless `--output` says where to. Takes about fifteen minutes; needs npm and node. The exit code
is 1 when a mark is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

from claudeproxy.logs import configure_logging
from tests.accuracy.check import Verdict, check
from tests.accuracy.report import page
from tests.accuracy.session import MATRIX, Setting, drive, owners

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "attribution-accuracy.md"


def run(setting: Setting) -> Verdict:
    """Drive one client and compare what was captured."""
    with tempfile.TemporaryDirectory(prefix="accuracy-") as folder:
        root = Path(folder).resolve()
        world = trio.run(partial(drive, setting, root))
        return check(root / "captures", owners(world))


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    configure_logging("json", "error")
    verdicts: dict[Setting, Verdict] = {}
    for setting in (setting for setting in MATRIX if given.only in str(setting)):
        started = time.monotonic()
        verdict = verdicts[setting] = run(setting)
        print(
            f"{setting}: {verdict.right.total()} of {verdict.seen.total()} marks right, "
            f"{verdict.undecidable.total()} undecidable, {len(verdict.misses)} missed, in {verdict.requests} requests "
            f"({time.monotonic() - started:.0f} s)",
            flush=True,
        )
        for miss in verdict.misses[:20]:
            print(f"  {miss}", flush=True)
    output = given.output or (None if given.only else PAGE)
    if output is not None:
        output.write_text(page(verdicts), encoding="utf-8")
    return 1 if any(verdict.misses for verdict in verdicts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
