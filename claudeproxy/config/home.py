"""Where claudeproxy keeps its things: one directory that only its owner may enter.

Apart from the keys because commands that only read captures need these paths and nothing else, and the libraries
behind the keys take longer to import than such a command may take to answer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE: Final = "CLAUDEPROXY_HOME"
DIRECTORY_MODE: Final = 0o700  # captures are whole conversations, and the CA's key lies here


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The directory and the names of what is in it. Says where things are, not that they exist."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The configuration, read when it exists."""
        return self.path / "config.yaml"

    @property
    def database(self) -> Path:
        """The captures: SQLite, 0600."""
        return self.path / "captures.db"

    @property
    def rules_file(self) -> Path:
        """The person's own attribution rules, read when it exists."""
        return self.path / "rules.yaml"

    @property
    def journal(self) -> Path:
        """What relays have seen and the recorder has not stored yet: one directory a relay."""
        return self.path / "journal"

    @property
    def ca_cert(self) -> Path:
        """The CA's certificates (PEM): what clients are told to trust."""
        return self.path / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The CA's private key (PEM), 0600."""
        return self.path / "ca.key"

    @property
    def secret(self) -> Path:
        """The key of the keyed hash that stands for API keys in the records, 0600."""
        return self.path / "secret"

    @property
    def bundle(self) -> Path:
        """The system's certificates and ours in one file, for clients that take a whole trust store or none."""
        return self.path / "ca-bundle.pem"

    @property
    def state_file(self) -> Path:
        """Who serves from this home and where it listens; exists while ``claudeproxy serve`` runs."""
        return self.path / "serve.json"

    @property
    def pause_file(self) -> Path:
        """Exists while capture is paused (or was, until a time that has passed)."""
        return self.path / "paused"

    @property
    def excluded_sessions(self) -> Path:
        """Hashes of sessions that are not recorded (`exclude_projects`), 0600; made with the first of them."""
        return self.path / "excluded-sessions"

    @property
    def quarantine(self) -> Path:
        """Exchanges that could not be recorded at all: their part of the journal, until a newer version tries again."""
        return self.path / "quarantine"

    @property
    def log_file(self) -> Path:
        """The log of the proxy that ``claudeproxy run`` starts: the terminal belongs to the command that it runs."""
        return self.path / "run.log"

    def create(self) -> None:
        """Make the directory, closed to others; an existing one that is too open is closed.

        Raises ConfigError when it cannot be made or is somebody else's.
        """
        try:
            self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            if os.name == "posix":
                info = self.path.stat()
                # Root may use anybody's, as in containers whose volume belongs to a user of the host.
                if info.st_uid != os.geteuid() and os.geteuid() != 0:
                    raise PermissionError(1, "it belongs to another user")
                if info.st_mode & 0o077:
                    self.path.chmod(DIRECTORY_MODE)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"cannot use {self.path} as home: {reason}. Give another with --home or {HOME_VARIABLE}."
            ) from error


def find_home(flag: Path | None = None, environment: Mapping[str, str] | None = None) -> Home:
    """The home: `flag`, else CLAUDEPROXY_HOME (not when empty), else ``~/.claude-proxy``; absolute, ``~`` expanded.

    Raises ConfigError where nothing says what ``~`` is: no HOME, and no entry for the user (as in some containers).
    """
    environment = os.environ if environment is None else environment
    chosen = flag or environment.get(HOME_VARIABLE) or Path("~/.claude-proxy")
    try:
        return Home(path=Path(chosen).expanduser().absolute())
    except RuntimeError as error:
        raise ConfigError(f"cannot tell what {chosen} is: set HOME, or give --home or {HOME_VARIABLE}.") from error
