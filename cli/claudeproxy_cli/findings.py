"""What a check of ``claudeproxy doctor`` is given, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.config.home import Home


class Status(StrEnum):
    """What a check came to. Only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; `remedy` is None when there is nothing to do."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the checks look at."""

    config: ClaudeProxyConfig
    config_file: Path | None
    environment: Mapping[str, str]
    directory: Path

    @property
    def home(self) -> Home:
        """Where things are."""
        return self.config.paths
