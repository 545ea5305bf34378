"""The verbs of `CaptureStorage` for what follows from captures: attribution, sums, search, and what of it is missing.

Apart from `storage`, which stores captures and gives them back, because all of this can be deleted and made again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError
from claudeproxy.store import queries, unfinished
from claudeproxy.store.lineage import find_agent_call
from claudeproxy.store.search import UNSEARCHED
from claudeproxy.store.session import StorageSession
from claudeproxy.store.unfinished import Part
from claudeproxy.store.witnesses import whole_texts
from claudeproxy.store.wording import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.model import Account, AgentCall, RequestAttribution, WholeText
    from claudeproxy.store.explained import Explanations
    from claudeproxy.store.writer import ExchangeWriter


class DerivedStorage(StorageSession):
    """Part of `CaptureStorage`, which makes what works over its connection."""

    _writer: ExchangeWriter
    _explanations: Explanations
    _on_unfinished: Callable[[str, str, Exception], None] | None = None

    # --- where the context came from ------------------------------------------------------------------------

    def underived(self, rules_version: str, limit: int) -> list[str]:
        """Return ids of ended requests with a body that were not explained by this version of the rules.

        Without those that it could not explain (`unfinished`).
        """
        row = self._all("SELECT id FROM rules WHERE version = ?", (rules_version,))
        tried = unfinished.tried_by(Part.ATTRIBUTION, rules_version)
        parameters = {"rules": row[0]["id"] if row else -1, "tried": tried, "limit": limit}
        return [row["id"] for row in self._all(queries.UNDERIVED, parameters)]

    def is_attributed(self, request_id: str) -> bool:
        """Tell whether a request was explained, by whatever version of the rules."""
        return bool(self._all("SELECT 1 FROM requests WHERE id = ? AND rules > 0", (request_id,)))

    def save_attribution(
        self,
        request_id: str,
        result: RequestAttribution,
        token_counts: Sequence[int],
        *,
        rules_version: str,
        complete: bool = True,
        account: Account | None = None,
    ) -> bool:
        """Store where a request's context came from. `token_counts` sizes ``result.segments()`` one by one.

        A node that these rules have explained in another request keeps its segments. `complete` is false where the
        request continues a thread that was not seen from its beginning. `account` says what everything cost; without
        one the numbers that the request was settled with hold, or else the sizes are estimates. Returns whether others
        can be explained better now, by what stood alone in this one: they are among the `underived` again.

        :raises NotFoundError: no such request.
        :raises StorageError: the counts do not match, or the database cannot be written.
        """
        with self.writing():
            save = self._explanations.save
            return save(request_id, result, token_counts, version=rules_version, complete=complete, account=account)

    def settle(self, request_id: str, account: Account | None = None, *, rules_version: str) -> None:
        """Derive again what the end of an explained request may have changed: its place among others, its numbers.

        :raises NotFoundError: no such request.
        """
        with self.writing():
            self._explanations.settle(request_id, account, version=rules_version)

    def agent_call(self, session_id: str, prompt: str, *, before: int) -> AgentCall | None:
        """Return the latest call in a session, by a request before an instant, that gave an agent this prompt."""
        with self.reading():
            return find_agent_call(self._connection, session_id, prompt, before)

    def whole_texts(self, owner: str) -> list[WholeText]:
        """Return what is known of an owner's texts from where they stood alone (`claudeproxy.model.WholeText`)."""
        with self.reading():
            return whole_texts(self._connection, owner)

    # --- full text ------------------------------------------------------------------------------------------

    def unindexed(self, limit: int) -> list[str]:
        """Return ids of ended requests that are not in the index, or by an older reading of their texts."""
        parameters = (VERSION, unfinished.tried_by(Part.SEARCH), limit)
        return [row["id"] for row in self._all(UNSEARCHED, parameters)]

    # --- what is missing ------------------------------------------------------------------------------------

    def on_unfinished(self, told: Callable[[str, str, Exception], None]) -> None:
        """Have ``told(correlation_id, part, error)`` called when something cannot be derived while it is recorded."""
        self._on_unfinished = told
        self._writer.guard.on_failure = told

    def note_unfinished(self, request_id: str, part: Part, error: Exception | None, *, rules_version: str = "") -> None:
        """Note that a part of what follows from a request cannot be derived by this version; None: it died of it.

        A database that cannot be written is not told of it, and the part is simply tried again.
        """
        what = unfinished.DIED if error is None else type(error).__name__
        with suppress(StorageError), self.writing() as connection:
            row = connection.execute("SELECT n FROM requests WHERE id = ?", (request_id,)).fetchone()
            if row is not None:  # deleted meanwhile: nothing is missing
                unfinished.note(connection, row[0], part, what, rules_version=rules_version)

    def unfinished(self) -> Mapping[str, int]:
        """Return how many requests lack each part of what follows from them; empty when all is there."""
        with self.reading() as connection:
            return unfinished.counts(connection)

    def without_bodies(self) -> int:
        """Return how many requests are recorded without a body because there was no room for it."""
        return int(self._all("SELECT count(*) FROM requests WHERE body_kept = 'dropped'")[0][0])

    def waiting_to_finish(self, limit: int, *, rules_version: str | None) -> list[str]:
        """Return ids of requests with a part that failed and that this version has not tried; None: of all such."""
        with self.reading() as connection:
            return unfinished.waiting(connection, rules_version, limit)

    def redo(self, request_id: str) -> None:
        """Derive again what failed while a request was stored; what fails again is noted again.

        Attribution, accounting and search follow with `save_attribution` and `index_texts`.

        :raises StorageError: the database cannot be read or written.
        """
        from claudeproxy.store.redoing import redo  # content codings are not for those who only read

        with self.writing() as connection:
            redo(connection, self._writer, request_id)
