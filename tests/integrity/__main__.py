"""Runs the tests in tests/integrity, the heavy ones too, and writes docs/reference/capture-integrity.md.

    uv run python -m tests.integrity [PYTEST ARGUMENTS]     all, or some: `-k reset`, `tests/integrity/test_x.py`
    uv run python -m tests.integrity --check FILE           compare the page with rows that a whole run collected

Where only some tests run, the rows of the others stay. A run collects rows in the file that INTEGRITY_ROWS names. The
exit code is 1 when a test fails (nothing is written then) or the page is stale.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integrity.conftest import COLLECTING
from tests.integrity.page import PAGE, Row, merged, published, render, sentence, sentence_of


def collected(file: Path) -> tuple[list[Row], list[float], list[str]]:
    """The rows of a run in the order of its tests, the times that were measured, and the tests that were skipped."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    rows = sorted((line for line in lines if "place" in line), key=lambda line: int(line.pop("place")))
    return [Row(**row) for row in rows], seconds, [line["skipped"] for line in lines if "skipped" in line]


def check(rows: list[Row], skipped: list[str]) -> int:
    """Whether the page says what was seen, of every fault. Rows of tests that this machine cannot run may stay."""
    known, seen = set(published()), set(rows)
    for word, differing in (("not in the page", seen - known), ("seen by no test", known - seen)):
        for row in sorted(differing, key=str):
            print(f"{word}: {row}")
    for test in skipped:
        print(f"skipped here: {test}")
    faults = {(row.section, row.fault) for row in seen}
    missing = {row for row in known if (row.section, row.fault) not in faults}  # in no way in at all
    stale = bool(seen - known) or (bool(missing) and not skipped)
    if stale:
        print(f"{PAGE.name} is stale: run `uv run python -m tests.integrity`")
    return int(stale)


def main(arguments: list[str]) -> int:
    """Run what was asked for."""
    if arguments[:1] == ["--check"]:
        seen, _, skipped = collected(Path(arguments[1]))
        return check(seen, skipped)
    with tempfile.TemporaryDirectory(prefix="integrity-") as folder:
        file = Path(folder) / "rows"
        file.touch()
        some = [] if any("tests/" in argument for argument in arguments) else ["tests/integrity"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", "heavy or not heavy", *some, *arguments],
            env={**os.environ, COLLECTING: str(file)},
            check=False,
        )
        if done.returncode:
            return 1
        rows, seconds, skipped = collected(file)
    if arguments or skipped:
        rows = merged(published(), rows)
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(render(rows, sentence(seconds) or sentence_of(old)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
