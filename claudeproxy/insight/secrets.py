"""`Secrets`: which secret left the machine, when, through which source, how often since.

Reads only. What it tells is what ``secrets: report`` or ``redact`` has found so far; the sums outlive the captures.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError
from claudeproxy.insight.secrets_values import SecretSighting, SecretSource, SecretUse

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from claudeproxy.store.storage import CaptureStorage

_ALWAYS = 1 << 62  # ns: later than any capture

_USES = """
SELECT * FROM secrets WHERE last_seen >= :since AND first_seen < :until AND (:rule IS NULL OR rule = :rule)
  AND (:sent = 0 OR sent > 0)
  AND (:source IS NULL OR id IN (SELECT secret FROM secret_sources WHERE label = :source))
ORDER BY last_seen DESC, id
"""
_SOURCES = "SELECT * FROM secret_sources ORDER BY secret, requests DESC, label"
_SIGHTINGS = """
SELECT q.id, q.request_initiated, q.session_id, s.* FROM secret_sightings s JOIN requests q ON q.n = s.request
WHERE s.secret = ? ORDER BY q.request_initiated DESC, s.request DESC, s.start LIMIT ?
"""
_BY_HASH = "SELECT * FROM secrets WHERE hash >= ? AND hash < ? ORDER BY hash LIMIT 3"


class Secrets:
    """Findings in an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def uses(
        self,
        *,
        since: int | None = None,
        until: int | None = None,
        rule: str | None = None,
        source: str | None = None,
        sent: bool = False,
    ) -> list[SecretUse]:
        """Return the secrets that were seen in a time, the latest first.

        Of a secret whose captures are gone only the first and the last time are known: it counts for all in between.

        :param source: only those that came through the source with this label.
        :param sent: only those that were in a request.
        """
        bounds = {"since": since or 0, "until": _ALWAYS if until is None else until}
        with self._storage.reading() as connection:
            rows = connection.execute(_USES, {**bounds, "rule": rule, "source": source, "sent": int(sent)}).fetchall()
            sources = _sources(connection)
        return [_use(row, sources) for row in rows]

    def use(self, hash: str) -> SecretUse:  # noqa: A002 - what it is
        """Return one secret by its hash or a beginning of it.

        :raises NotFoundError: there is none, or there are several.
        """
        wanted = hash.strip().lower()
        with self._storage.reading() as connection:
            rows = connection.execute(_BY_HASH, (wanted, wanted + "\U0010ffff")).fetchall()
            sources = _sources(connection)
        if len({row["hash"] for row in rows}) != 1 or not wanted:
            near = tuple(row["hash"] for row in rows)
            what = "names several secrets" if len(near) > 1 else "names no secret"
            raise NotFoundError(f"{hash!r} {what}", near=near)
        return _use(rows[0], sources)

    def sightings(self, hash: str, *, limit: int = 100) -> list[SecretSighting]:  # noqa: A002
        """Return where a secret (by its whole hash) stands in captures that are there, the latest first."""
        with self._storage.reading() as connection:
            found = connection.execute("SELECT id FROM secrets WHERE hash = ?", (hash,)).fetchall()
            rows = [row for (number,) in found for row in connection.execute(_SIGHTINGS, (number, limit)).fetchall()]
        return [
            SecretSighting(
                request_id=row["id"],
                at=row["request_initiated"],
                direction=row["direction"],
                source=row["source"],
                json_path=row["json_path"],
                start=row["start"],
                length=row["length"],
                masked=bool(row["masked"]),
                session_id=row["session_id"],
            )
            for row in rows
        ]


def _sources(connection: sqlite3.Connection) -> Mapping[int, list[SecretSource]]:
    sources: dict[int, list[SecretSource]] = defaultdict(list)
    for row in connection.execute(_SOURCES).fetchall():
        one = SecretSource(
            label=row["label"], requests=row["requests"], first_seen=row["first_seen"], last_seen=row["last_seen"]
        )
        sources[row["secret"]].append(one)
    return sources


def _use(row: sqlite3.Row, sources: Mapping[int, Sequence[SecretSource]]) -> SecretUse:
    return SecretUse(
        rule=row["rule"],
        hash=row["hash"],
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        sent=row["sent"],
        received=row["received"],
        masked=row["masked"],
        sources=tuple(sources.get(row["id"], ())),
    )
