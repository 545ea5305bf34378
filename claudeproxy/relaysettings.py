"""What a relay is told: where it stands in the configuration, and in how many shares it does its work.

Apart from `relaying`, as `recordingsettings` from the recorder, because under `workers` it is made by one process and
read by others. It holds secrets (`proxy_auth`, the way to an upstream proxy): it goes from process to process through a
pipe, never as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from claudeproxy.proxy.settings import ProxySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """What one process needs to know to relay and to keep what passes. `capture`: whether it keeps anything."""

    proxy: ProxySettings
    ca_cert: Path
    ca_key: Path
    intercept_hosts: Sequence[str]
    upstream_ca: Path | None
    capture: bool
    capture_other_bodies: bool
    max_body_bytes: int
    journal: Path
    journal_max_bytes: int
    pause_file: Path
    secret: Path
    secrets: str  # off, report, redact
    secret_rules: Sequence[str]
    calibrate: bool
    log_format: str
    log_level: str

    def share(self, workers: int) -> RelaySettings:
        """What each of so many processes is told, so that together they take what one may take."""
        proxy = replace(
            self.proxy,
            max_connections=max(1, self.proxy.max_connections // workers),
            max_connections_per_client=max(1, self.proxy.max_connections_per_client // workers),
        )
        return replace(self, proxy=proxy, journal_max_bytes=self.journal_max_bytes // workers)
