"""The paths of the latest requests, with what explains their nodes: the next turn's is read from where they part.

Apart from `tree`, which reads a path whole, because this holds only as long as nobody else explains nodes: whoever
keeps paths here forgets them when another process wrote, and when a node is explained anew.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING

from claudeproxy.store.skeleton import PathStep

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.tree import BlockTree

_RECENT = 3  # paths: of the main conversation and its agents
_MAX_KEPT = 1 << 14  # nodes of one
_MAX_NEW = 16  # nodes that are read one by one; a path that has more of its own is read whole

_STEP = "SELECT parent, id, place, block, gap, chain, explanation FROM nodes WHERE id = ?"
_NODE = attrgetter("node")


class Ways:
    """Reads over one connection. Whoever changes explanations calls `forget`."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree
        self._kept: tuple[Sequence[PathStep], ...] = ()  # the latest first

    def forget(self) -> None:
        """Forget all paths: nodes may be explained otherwise by now."""
        self._kept = ()

    def keep(self, path: Sequence[PathStep]) -> None:
        """Keep a path in place of those that it goes on from. Nothing is to change it afterwards."""
        if 0 < len(path) <= _MAX_KEPT:
            earlier = [one for one in self._kept if not _is_on(one[len(one) * 7 // 8].node, path)]
            self._kept = (path, *earlier)[:_RECENT]

    def to(self, node: int) -> list[PathStep]:
        """Return the path that ends at a node, in prompt order, as `BlockTree.path` does."""
        new: list[PathStep] = []
        at = node
        while at and self._kept:
            for one in self._kept:
                if _is_on(at, one):
                    return [*one[: bisect_left(one, at, key=_NODE) + 1], *reversed(new)]
            if len(new) == _MAX_NEW:
                break
            at, *step = self._connection.execute(_STEP, (at,)).fetchone()
            new.append(PathStep(*step))
        return self._tree.path(node)


def _is_on(node: int, path: Sequence[PathStep]) -> bool:
    """Whether a path goes through a node: each has a higher number than the one before it, which is older."""
    at = bisect_left(path, node, key=_NODE)
    return at < len(path) and path[at].node == node
