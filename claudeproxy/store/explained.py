"""What attribution found out, stored: segments on nodes, the rest on the request, sums per source.

Apart from `writer` because it comes later, may come again with better rules, and can all be deleted and made again
from the captures. A node is explained once per version of the rules; what a request adds is a row per source and a few
small integers. What belongs to no node (bytes outside the three sections, masked blocks, bodies stored whole) is
shared between requests where it is equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.errors import NotFoundError, StorageError
from claudeproxy.store.accounts import Accounts
from claudeproxy.store.attempts import count_attempts
from claudeproxy.store.changes import note_attributed
from claudeproxy.store.cutting import cut_body
from claudeproxy.store.labels import OUTDATED, UNSETTLED, Labels, remember
from claudeproxy.store.lineage import Lineage
from claudeproxy.store.places import MASKED
from claudeproxy.store.text import clean
from claudeproxy.store.totals import Counted, RequestTotals, text_hash
from claudeproxy.store.unfinished import Part, clear
from claudeproxy.store.witnesses import Witnesses

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.model import Account, RequestAttribution, Segment
    from claudeproxy.store.aggregates import SourceAggregates
    from claudeproxy.store.skeleton import PathStep
    from claudeproxy.store.tree import BlockTree

SegmentRow: TypeAlias = tuple[int, int, int | None, int | None, int, int, bytes]
"""A row of table ``segments`` without its explanation."""

Gone: TypeAlias = tuple[int, int]
"""Where in a stored block its cache_control member was, and how many bytes it had."""


class Explanations:
    """Writes attributions over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree, aggregates: SourceAggregates) -> None:
        self._connection = connection
        self._tree = tree
        self._aggregates = aggregates
        self._labels = Labels(connection)
        self._lineage = Lineage(connection, tree)
        self._totals = RequestTotals(connection, self._labels, aggregates)
        self._accounts = Accounts(connection, self._labels, self._totals, aggregates)
        self._witnesses = Witnesses(connection)
        self._told: set[str] = set()  # owners of whom the request at hand tells something new
        self._versions: dict[int, int] = {}

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._labels.forget()
        self._totals.forget()
        self._accounts.forget()
        self._versions.clear()

    def save(
        self,
        request_id: str,
        result: RequestAttribution,
        tokens: Sequence[int],
        *,
        version: str,
        complete: bool = True,
        account: Account | None = None,
    ) -> bool:
        """Store one request's attribution in place of what it had. `complete`: all of its context was seen.

        Without an `account` the numbers of the one that it has hold, or else the sizes in `tokens`.

        Returns whether it makes explanations of others outdated.

        :raises NotFoundError: no such request.
        :raises StorageError: `tokens` does not count the segments one by one.
        """
        row = self._request(request_id)
        if len(tokens) != len(result.segments()):
            raise StorageError(f"{len(tokens)} token counts for {len(result.segments())} segments")
        if result.context is not None:
            path, cuts = self._lay(result.context)
        else:
            path = self._tree.path(row["node"]) if row["node"] is not None else []
            cuts = self._cuts(row["skeleton"]) if path else {}
        rules = self._labels.rules(version)
        self._told.clear()
        loose = self._save_nodes(path, cuts, result, tokens, rules)
        self._totals.save_loose(row["n"], loose)
        self._save_request(row["n"], result, path, rules, complete=complete)
        if account is not None:
            self._accounts.save(row["n"], path, account)
        elif not self._accounts.again(row["n"], path):
            self._totals.sum(row["n"])
            self._totals.settle(row["n"])
        self._derive(row["n"], path)
        clear(
            self._connection, row["n"], (Part.ATTRIBUTION,) if account is None else (Part.ATTRIBUTION, Part.ACCOUNTING)
        )
        return self._outdate()

    def settle(self, request_id: str, account: Account | None = None, *, version: str) -> None:
        """Derive again what an explained request's end may have changed; store its `account`. `version` explained it.

        :raises NotFoundError: no such request.
        """
        row = self._request(request_id)
        if row["rules"]:
            path = self._tree.path(row["context"]) if row["context"] is not None else []
            if account is not None:
                self._accounts.save(row["n"], path, account)
            elif not row["accounted"]:
                self._totals.settle(row["n"])
            self._derive(row["n"], path)
            self._connection.execute(
                "UPDATE requests SET rules = ? WHERE n = ? AND rules = ?",
                (self._labels.rules(version), row["n"], self._labels.rules(UNSETTLED)),
            )
            note_attributed(self._connection, row["n"])

    def _request(self, request_id: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT n, node, skeleton, rules, ifnull(context_node, node) AS context,"
            " EXISTS (SELECT 1 FROM accounts WHERE request = n) AS accounted FROM requests WHERE id = ?",
            (request_id,),
        ).fetchone()
        if row is None:
            raise NotFoundError(f"no request {request_id}")
        return row

    def _derive(self, number: int, path: Sequence[PathStep]) -> None:
        with count_attempts(self._connection, self._aggregates, number):
            self._lineage.derive(number, path)

    def _lay(self, context: bytes) -> tuple[list[PathStep], dict[int, Gone]]:
        """Return the path of a rebuilt context, which no request's body spells out."""
        cut = cut_body(context)
        cuts = {index: (p.cut[0], len(p.cut[1])) for index, p in enumerate(cut.pieces) if p.cut is not None}
        laid = self._tree.lay(cut)
        return self._tree.path(laid[-1].node) if laid else [], cuts

    def _cuts(self, skeleton: bytes) -> dict[int, Gone]:
        cuts = self._tree.skeleton(skeleton).cuts
        return {
            cut.index: (
                cut.offset,
                len(self._tree.read_block(cut.literal)) if isinstance(cut.literal, int) else len(cut.literal),
            )
            for cut in cuts
        }

    # --- nodes ----------------------------------------------------------------------------------------------

    def _save_nodes(
        self,
        path: list[PathStep],
        cuts: dict[int, Gone],
        result: RequestAttribution,
        tokens: Sequence[int],
        rules: int,
    ) -> list[Counted]:
        """Explain the nodes that are not yet explained by these rules; return the segments that have no node.

        `path` knows the explanations afterwards.
        """
        loose: list[Counted] = []
        at = 0
        aligned = len(path) == len(result.blocks)  # otherwise the body is stored whole, and no node is this request's
        for index, block in enumerate(result.blocks):
            place = slice(
                at, at + len(block.segments)
            )  # sizes are looked at where they are needed: not of what is known
            at = place.stop
            step = path[index] if aligned else None
            if step is None or step.place & MASKED:
                loose += [
                    Counted(segment, count, block.json_path + segment.path, block.message_index, block.role)
                    for segment, count in zip(block.segments, tokens[place], strict=True)
                ]
            elif step.explanation is None or not self._is_by(step.explanation, rules):
                explanation = self._explain(step, self._rows(block.segments, tokens[place], cuts.get(index)), rules)
                path[index] = step._replace(explanation=explanation)
                if block.whole or block.undecided:
                    self._told |= self._witnesses.save(explanation, block)
        loose += [
            Counted(segment, count, segment.path, -1, "system")
            for segment, count in zip(result.overhead, tokens[at:], strict=True)
        ]
        return loose

    def _is_by(self, explanation: int, rules: int) -> bool:
        if explanation not in self._versions:
            row = self._connection.execute("SELECT rules FROM explanations WHERE id = ?", (explanation,)).fetchone()
            remember(self._versions, explanation, int(row[0]))
        return self._versions[explanation] == rules

    def _outdate(self) -> bool:
        """Have explained again what this request's texts divide better."""
        found = self._witnesses.outdate(self._told, self._labels.rules(OUTDATED)) if self._told else []
        for explanation in found:
            self._versions.pop(explanation, None)
        return bool(found)

    def _rows(self, segments: Sequence[Segment], tokens: Sequence[int], cut: Gone | None) -> list[SegmentRow]:
        return [
            (
                ordinal,
                self._labels.label(segment),
                segment.start,
                segment.end,
                segment.byte_end if cut is None else _without_cut(segment.byte_end, *cut),
                count,
                text_hash(segment),
            )
            for ordinal, (segment, count) in enumerate(zip(segments, tokens, strict=True))
        ]

    def _explain(self, step: PathStep, rows: list[SegmentRow], rules: int) -> int:
        """Give a node its explanation: that of another node with the same block where it is equal, or a new one.

        Sizes do not make a difference: they only say how a block's tokens are divided.
        """
        explanation = self._equal_explanation(step.block, rows, rules)
        if explanation is None:
            explanation = int(
                self._connection.execute(
                    "INSERT INTO explanations (block, rules) VALUES (?, ?) RETURNING id", (step.block, rules)
                ).fetchone()[0]
            )
            self._connection.executemany(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(explanation, *row) for row in rows]
            )
        self._connection.execute("UPDATE nodes SET explanation = ? WHERE id = ?", (explanation, step.node))
        if step.explanation is not None:
            self._connection.execute(
                "DELETE FROM explanations WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM nodes WHERE block = ?2 AND explanation = ?1)",
                (step.explanation, step.block),
            )
        return explanation

    def _equal_explanation(self, block: int, rows: list[SegmentRow], rules: int) -> int | None:
        candidates = self._connection.execute(
            "SELECT id FROM explanations WHERE block = ? AND rules = ? LIMIT 4", (block, rules)
        ).fetchall()
        wanted = [(*row[:5], row[6]) for row in rows]
        for (candidate,) in candidates:
            stored = self._connection.execute(
                'SELECT ordinal, label, start, "end", byte_end, content_hash FROM segments'
                " WHERE explanation = ? ORDER BY ordinal",
                (candidate,),
            ).fetchall()
            if [tuple(row) for row in stored] == wanted:
                return int(candidate)
        return None

    # --- the request's own ----------------------------------------------------------------------------------

    def _save_request(
        self, number: int, result: RequestAttribution, path: Sequence[PathStep], rules: int, *, complete: bool
    ) -> None:
        identity = result.identity
        self._connection.execute(
            """
            UPDATE requests SET session_id = ?, agent_id = ?, parent_agent_id = ?, agent_type = ?, request_class = ?,
              client = ?, client_version = ?, model = ?, project = ?, previous_message_id = ?, thread = ?,
              retry_count = ?, begins_prompt = ?, context_node = ?, context_complete = ?, rules = ?
            WHERE n = ?
            """,
            (
                clean(identity.session_id),
                clean(identity.agent_id),
                clean(identity.parent_agent_id),
                clean(identity.agent_type),
                clean(identity.request_class),
                clean(identity.client),
                clean(identity.client_version),
                clean(identity.model),
                clean(identity.project),
                clean(identity.previous_message_id),
                clean(identity.thread),
                identity.retry_count,
                int(identity.begins_prompt),
                path[-1].node if result.context is not None and path else None,
                int(complete),
                rules,
                number,
            ),
        )


def _without_cut(offset: int, cut: int, length: int) -> int:
    """Turn an offset in a block as sent into one in the block as stored, without its cache_control member."""
    return offset if offset <= cut else max(cut, offset - length)
