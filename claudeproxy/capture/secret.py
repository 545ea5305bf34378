"""The per-installation secret behind the hashes of API keys: 32 random bytes in a file of their own.

Apart from `redact`, which is pure. Two processes that start at once end up with the same secret, nobody ever reads a
half-written one, and the file is readable by its owner only. It is no credential: losing it only means that later
hashes do not compare with earlier ones.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.errors import JournalError
from claudeproxy.private import read_private

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES = 32


def load_or_create_secret(path: Path) -> bytes:
    """The secret in `path`, made when there is none. JournalError when the file cannot be used."""
    try:
        try:
            secret = read_private(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
            secret = read_private(path)
    except OSError as exc:
        raise JournalError(f"cannot use {path}: {exc.strerror}; check its owner and permissions") from exc
    if len(secret) != SECRET_BYTES:
        raise JournalError(f"{path} holds {len(secret)} bytes instead of {SECRET_BYTES}; delete it to get a new one")
    return secret


def _create(path: Path) -> None:
    """Publish a complete file under `path` unless somebody was faster."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        with suppress(FileExistsError):
            # Unlike a rename, a link never replaces what is there (on Windows too).
            os.link(draft, path)
    finally:
        draft.unlink()
