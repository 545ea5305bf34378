"""What a recorder is told when it is started.

Apart from `recording` because the relay's process makes these and must not load what the recorder works with: it starts
in half the time, which is how long clients wait when it had to be started again, and holds that much less memory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettings:
    """What the recorder needs to know. Holds no secret: it is the child process's argument, which others can list."""

    database: str
    journal: str
    log_format: str = "auto"
    log_level: str = "info"
    rules_file: str | None = None  # the person's own rules, when it is there
    rules_files: Sequence[str] = ()  # and further ones, which must be
    transcripts: str | None = None  # directory of the client's transcripts, to read from
    fingerprints: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of clients beside the bundled ones
    exclude_projects: Sequence[str] = ()  # directories whose conversations are not stored
    excluded_sessions: str = ""  # the file that remembers those
    quarantine: str = ""  # directory for what cannot be recorded at all; "": there is none
    secrets: str = "off"  # or report, redact
    secret_rules: Sequence[str] = ()  # files of the person's own
    secret_path: str = ""  # the file of the key that makes hashes this installation's
    prices: Sequence[Mapping[str, str]] = ()  # the person's own, as in the configuration
    alert_session_cost: int | None = None  # pico-dollars
    max_websocket_messages: int = 100_000  # of one connection; and bytes that are kept of one:
    max_message_bytes: int = 16 << 20
    max_decoded_bytes: int = 128 << 20

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RecordingSettings:
        """What `to_json` wrote. Raises ValueError, TypeError."""
        return cls(**json.loads(text))
