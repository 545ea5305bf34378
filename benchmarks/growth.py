"""How everything grows: connections at once, sizes of bodies, captures in the database; curves as SVG.

    uv run benchmarks/growth.py [connections] [bodies] [captures] [--json FILE] [--figure NAME] [--most N]
                                [--databases DIR [--as-they-are]] [--quick]

Without a word: all of them. ``--json FILE`` holds the points and is read first: those it has are not taken again,
unless with ``--again``, so a long run may be interrupted and points be added. ``--most 10000`` leaves out the points
beyond. ``--figure benchmarks/figures/growth`` draws every curve that there are points for, to
``NAME-connections.svg``, ``NAME-bodies.svg`` and ``NAME-captures.svg``. What a point is: `growth_load`,
`growth_captures`. Databases are made in a scratch directory, or in DIR, where those that lie there are gone on with
(``--as-they-are``: measured as they are, and none is made).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from growth_captures import CAPTURES, captures
from growth_figures import FIGURES
from growth_load import BODIES, CONNECTIONS, bodies, connections
from processes import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from growth_load import Take
    from overhead import Row

PARTS = ("connections", "bodies", "captures")
QUICK = {"connections": 1, "bodies": 1_000, "captures": 10}  # --most of a smoke run
SAME = 0.02  # a point of this part of its x beside another is the same one


class Points:
    """The rows of each part; written to `path`, if there is one, with every point that is taken."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: dict[str, list[Row]] = {part: [] for part in PARTS}
        if path is not None and path.exists():
            self.rows |= json.loads(path.read_text())["points"]

    def missing(self, part: str, key: str, wanted: Sequence[int], **others: str) -> list[int]:
        """Of the wanted values those for which there is no row."""
        rows = [row for row in self.rows[part] if all(row[name] == value for name, value in others.items())]
        known = [value for row in rows if isinstance(value := row[key], float)]
        return [one for one in wanted if not any(abs(one - value) <= SAME * one for value in known)]

    def taking(self, part: str) -> Take:
        """What takes the rows of a point of this part, and writes all down."""

        def take(rows: list[Row]) -> None:
            for row in rows:
                self.rows[part].append(row)
                few = list(row.items())[:9]
                shown = {key: round(value, 2) if isinstance(value, float) else value for key, value in few}
                print(json.dumps(shown), flush=True)
            if self._path is not None:
                whole = {"machine": machine(), "points": self.rows}
                self._path.write_text(json.dumps(whole, indent=1) + "\n")

        return take


def run(parts: Sequence[str], points: Points, databases: Path, *, most: int | None, filling: bool) -> None:
    """Take the points that are missing."""

    def wanted(values: Sequence[int]) -> list[int]:
        return [value for value in values if most is None or value <= most]

    if "connections" in parts and (counts := points.missing("connections", "connections", wanted(CONNECTIONS))):
        trio.run(connections, counts, points.taking("connections"))
    if "bodies" in parts and (sizes := points.missing("bodies", "bytes", wanted(BODIES))):
        trio.run(bodies, sizes, points.taking("bodies"))
    for shape in CAPTURES if "captures" in parts else ():
        counts = points.missing("captures", "captures", wanted(CAPTURES[shape]), shape=shape)
        captures(shape, counts, points.taking("captures"), databases, filling=filling)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", help=f"some of {', '.join(PARTS)}; without any: all")
    parser.add_argument("--json", type=Path, help="the points: read, added to, written")
    parser.add_argument("--again", action="store_true", help="take the points of these parts again")
    parser.add_argument("--most", type=int, help="leave out points beyond")
    parser.add_argument("--databases", type=Path, help="where databases are made and kept")
    parser.add_argument("--as-they-are", action="store_true", help="measure the databases that lie there; make none")
    parser.add_argument("--figure", type=Path, help="where to draw: NAME-connections.svg and so on")
    parser.add_argument("--quick", action="store_true", help="a smoke run: the smallest points")
    args = parser.parse_args()
    if unknown := set(args.part) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; say {', '.join(PARTS)}")
    parts, points = args.part or PARTS, Points(args.json)
    if args.again:
        points.rows |= {part: [] for part in parts}
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts:
            most = QUICK[part] if args.quick else args.most
            run([part], points, args.databases or Path(scratch), most=most, filling=not args.as_they_are)
    if args.figure:
        for part, draw in FIGURES.items():
            if points.rows[part]:
                Path(f"{args.figure}-{part}.svg").write_text(draw(points.rows[part]))


if __name__ == "__main__":
    main()
