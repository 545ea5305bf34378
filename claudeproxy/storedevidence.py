"""What a database of captures, and the client's transcripts, know about a request: evidence for the engine.

Apart from `explaining`, which asks for it, because it only looks things up: it changes nothing and explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.evidence.transcripts import Transcripts
    from claudeproxy.model import AgentCall, Source, WholeText
    from claudeproxy.store.storage import CaptureStorage


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

    def whole_texts(self, session_id: str | None, owner: str) -> Sequence[WholeText]:
        """The texts of an owner that stood alone in captures or, of tools' results, in transcripts."""
        known = self.storage.whole_texts(owner)
        if self.transcripts is not None and session_id is not None:
            known += self.transcripts.whole_texts(session_id, owner)
        return known
