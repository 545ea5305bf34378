"""What attribution found out, stored: segments on nodes, the rest on the request, sums per source.

Apart from `writer` because it comes later, may come again with better rules, and can all be deleted and made again
from the captures. A node is explained once per version of the rules; what a request adds is a row per source and a few
small integers. What belongs to no node (bytes outside the three sections, masked blocks, bodies stored whole) is
shared between requests where it is equal.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError, StorageError
from claudeproxy.store.accounts import Accounts
from claudeproxy.store.attempts import count_attempts
from claudeproxy.store.changes import note_attributed
from claudeproxy.store.cutting import cut_body
from claudeproxy.store.labels import OUTDATED, UNSETTLED, Labels
from claudeproxy.store.lineage import Lineage
from claudeproxy.store.places import MASKED
from claudeproxy.store.segments import NodeSegments
from claudeproxy.store.text import clean
from claudeproxy.store.totals import Counted, RequestTotals
from claudeproxy.store.unfinished import Part, clear
from claudeproxy.store.ways import Ways
from claudeproxy.store.witnesses import Witnesses

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.model import Account, RequestAttribution
    from claudeproxy.store.aggregates import SourceAggregates
    from claudeproxy.store.segments import Gone
    from claudeproxy.store.skeleton import PathStep
    from claudeproxy.store.tree import BlockTree


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
        self._segments = NodeSegments(connection, self._labels)
        self._ways = Ways(connection, tree)
        self._seen = -1  # what others had written when nodes were looked at

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._labels.forget()
        self._totals.forget()
        self._accounts.forget()
        self._segments.forget()
        self._ways.forget()

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
        self._notice_others()
        row = self._request(request_id)
        if len(tokens) != len(result.segments()):
            raise StorageError(f"{len(tokens)} token counts for {len(result.segments())} segments")
        if result.context is not None:
            path, cuts = self._lay(result.context)
        else:
            path = self._ways.to(row["node"]) if row["node"] is not None else []
            cuts = self._cuts(row["skeleton"]) if path else {}
        rules = self._labels.rules(version)
        self._told.clear()
        loose = self._save_nodes(path, cuts, result, tokens, rules)
        self._totals.save_loose(row["n"], loose, first=not row["divided"])
        self._save_request(row["n"], result, path, rules, complete=complete)
        if account is not None:
            self._accounts.save(row["n"], path, account, first=not row["divided"])
        elif not self._accounts.again(row["n"], path):
            self._totals.sum(row["n"])
            self._totals.settle(row["n"])
        self._derive(row["n"], path)
        if row["unfinished"]:
            parts = (Part.ATTRIBUTION,) if account is None else (Part.ATTRIBUTION, Part.ACCOUNTING)
            clear(self._connection, row["n"], parts)
        return self._outdate()

    def settle(self, request_id: str, account: Account | None = None, *, version: str) -> None:
        """Derive again what an explained request's end may have changed; store its `account`. `version` explained it.

        :raises NotFoundError: no such request.
        """
        self._notice_others()
        row = self._request(request_id)
        if row["rules"]:
            path = self._ways.to(row["context"]) if row["context"] is not None else []
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

    def _notice_others(self) -> None:
        """Look at nodes again when another process wrote: it may explain and settle requests too (a rebuild)."""
        seen = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if seen != self._seen:
            self._ways.forget()
            self._accounts.forget_numbers()
            self._seen = seen

    def _request(self, request_id: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT n, node, skeleton, rules, ifnull(context_node, node) AS context,"
            " EXISTS (SELECT 1 FROM accounts WHERE request = n) AS accounted,"
            " EXISTS (SELECT 1 FROM request_segments WHERE request = n) AS divided,"
            " EXISTS (SELECT 1 FROM unfinished WHERE request = n) AS unfinished FROM requests WHERE id = ?",
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
        return self._ways.to(laid[-1].node) if laid else [], cuts

    def _cuts(self, skeleton: bytes) -> dict[int, Gone]:
        cuts = self._tree.skeleton(skeleton).cuts
        return {
            cut.index: (
                cut.offset,
                len(self._tree.read_short(cut.literal)) if isinstance(cut.literal, int) else len(cut.literal),
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
        # Sizes are looked at where they are needed: not of what is known.
        ends = [0, *accumulate(len(block.segments) for block in result.blocks)]
        loose: list[Counted] = []
        aligned = len(path) == len(result.blocks)  # otherwise the body is stored whole, and no node is this request's
        for index in self._segments.unexplained(path, rules) if aligned else range(len(result.blocks)):
            block, sizes = result.blocks[index], tokens[ends[index] : ends[index + 1]]
            if not aligned or path[index].place & MASKED:
                loose += [
                    Counted(segment, count, block.json_path + segment.path, block.message_index, block.role)
                    for segment, count in zip(block.segments, sizes, strict=True)
                ]
            else:
                explanation = self._segments.explain(path[index], block.segments, sizes, cuts.get(index), rules)
                if path[index].explanation is not None:
                    self._ways.forget()
                path[index] = path[index]._replace(explanation=explanation)
                if block.whole or block.undecided:
                    self._told |= self._witnesses.save(explanation, block)
        if aligned:
            self._ways.keep(path)
        loose += [
            Counted(segment, count, segment.path, -1, "system")
            for segment, count in zip(result.overhead, tokens[ends[-1] :], strict=True)
        ]
        return loose

    def _outdate(self) -> bool:
        """Have explained again what this request's texts divide better."""
        found = self._witnesses.outdate(self._told, self._labels.rules(OUTDATED)) if self._told else []
        self._segments.forget(found)
        return bool(found)

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
