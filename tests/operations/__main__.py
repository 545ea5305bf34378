"""Count the operations, and write them down as the expected ones or compare.

    uv run python -m tests.operations [--write]

Lines of `claudeproxy` that are executed, counted by the interpreter in a process of its own. They grow with the work as
time does, are the same on every machine for one version of Python, and say nothing of what happens inside a library
or a system call: for that there are `benchmarks/`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys

from tests.operations.expected import TOLERANCE, load, save
from tests.operations.recorded import recorded
from tests.operations.relayed import relayed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the counts down as the expected ones")
    parser.add_argument("--json", action="store_true", help="print the counts as one line of JSON")
    arguments = parser.parse_args()
    found = relayed() | recorded()
    if arguments.json:
        print(json.dumps(found))
        return 0
    known = load(platform.python_implementation(), sys.version_info)
    for name, count in found.items():
        before = known.get(name)
        change = "" if before is None else f"{100 * (count - before) / before:+8.1f} % of {before}"
        print(f"{count:>9}  {name:<60}{change}")
    if arguments.write:
        save(platform.python_implementation(), sys.version_info, found)
        return 0
    return any(name not in known or abs(count - known[name]) > TOLERANCE * known[name] for name, count in found.items())


if __name__ == "__main__":
    sys.exit(main())
