"""Where the context of a stored capture came from: attributed, counted, and stored beside it.

Apart from `recording`, which decides when: nothing here touches a journal, and whatever goes wrong leaves the capture
as it is, to be explained by a later version of the rules. It never raises on what a capture holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.accounting.counts import CachedCounts
from claudeproxy.accounting.tokens import TokenCounter
from claudeproxy.attribution.threads import continued_message
from claudeproxy.errors import ClaudeProxyError
from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.attribution.engine import AttributionEngine
    from claudeproxy.evidence.transcripts import Transcripts
    from claudeproxy.model import AgentCall, RawHeaders, Source
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.recording")


@dataclass(frozen=True, slots=True)
class StoredEvidence:
    """What earlier captures, and transcripts if any, know about a request: `claudeproxy.model.Evidence`."""

    storage: CaptureStorage
    before: int
    transcripts: Transcripts | None = None

    def agent_call(self, session_id: str, prompt: str) -> AgentCall | None:
        """The call that started an agent with this prompt."""
        return self.storage.agent_call(session_id, prompt, before=self.before)

    def injected(self, session_id: str, text: str) -> Source | None:
        """The source of a text, as the client's transcripts tell it; None without them."""
        return None if self.transcripts is None else self.transcripts.injected(session_id, text)


class Explainer:
    """Explains captures of one storage by one engine; not thread-safe.

    `attributed` counts those it explained, `errors` those it could not.
    """

    def __init__(
        self, storage: CaptureStorage, engine: AttributionEngine, *, transcripts: Transcripts | None = None
    ) -> None:
        self.engine = engine
        self._transcripts = transcripts
        self.attributed = 0
        self.errors = 0
        self._storage = storage
        self._count = CachedCounts(TokenCounter().count_many)
        self._given_up: set[str] = set()  # failed once: not tried again by this process

    def waiting(self, limit: int) -> Sequence[str]:
        """Ids of captures that were not explained by these rules, `limit` at most. Raises StorageError."""
        found = self._storage.underived(self.engine.version, limit + len(self._given_up))
        return [request_id for request_id in found if request_id not in self._given_up][:limit]

    def explain_stored(self, request_id: str) -> None:
        """Explain a capture as the database has it; one that cannot be read is left alone."""
        try:
            request = self._storage.get_request(request_id)
            headers = tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in request.headers)
            body = request.body
        except ClaudeProxyError as error:  # damaged, or deleted meanwhile: one row must not end the recorder
            self._given_up.add(request_id)
            log.warning("capture cannot be read", request_id=request_id, error=str(error))
            return
        self.explain(request_id, body, headers, began=request.timestamp)

    def explain(self, request_id: str, body: bytes, headers: RawHeaders, *, began: int) -> None:
        """Attribute and count one request. Whatever goes wrong leaves the capture as it is."""
        try:
            message = continued_message(body)
            past = self._storage.thread_history(message) if message else None
            result = self.engine.analyze_request(
                body,
                headers=headers,
                history={message: past.blocks} if message and past else None,
                evidence=StoredEvidence(self._storage, before=began, transcripts=self._transcripts),
            )
            segments = result.segments()
            counts = self._count([segment.text for segment in segments])
            self._storage.save_attribution(
                request_id,
                result,
                counts,
                rules_version=self.engine.version,
                complete=message is None or (past is not None and past.complete),
            )
        except Exception as error:
            # A rule's bug or a hostile body: the record is safe and can be explained by a later version.
            self.errors += 1
            self._given_up.add(request_id)
            log.exception("attribution failed", request_id=request_id, error=str(error))
            return
        self.attributed += 1
        per_source: dict[str, int] = {}
        for segment, count in zip(segments, counts, strict=True):
            per_source[segment.source.label] = per_source.get(segment.source.label, 0) + count
        log.info("attributed", request_id=request_id, segments=len(segments), sources=per_source)

    def settle(self, request_id: str) -> None:
        """What the end of an exchange adds to what was found while it was in flight."""
        try:
            self._storage.settle(request_id)
        except ClaudeProxyError as error:  # as above; a rebuild derives it again
            self.errors += 1
            log.warning("lineage not derived", request_id=request_id, error=str(error))
