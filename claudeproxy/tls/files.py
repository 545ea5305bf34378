"""The authority's two files: written so that nobody else can read or replace them, read with the same suspicion.

Apart because this is about files, owners and races, not about certificates. Files appear whole or not at all: they are
written beside their place and then linked (creation: the first one wins) or renamed (replacement) into it. Needs
nothing that Windows and macOS lack; without POSIX owners and modes the home directory's own protection must do.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.errors import AuthorityError

if TYPE_CHECKING:
    from pathlib import Path

_POSIX = os.name == "posix"
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_PIPES = getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its writer
_MAX_FILE = 1_000_000  # bytes; ours have some thousands


def read_private(path: Path) -> bytes:
    """The bytes of a file that only we may read.

    Group and world permissions of a file that is ours are taken away; a symbolic link, anything but a regular file and
    what belongs to somebody else is refused with AuthorityError. FileNotFoundError passes through.
    """
    return _read(path, private=True)


def read_public(path: Path) -> bytes:
    """The bytes of a file that anybody may read. Raises AuthorityError; FileNotFoundError passes through."""
    return _read(path, private=False)


def _read(path: Path, *, private: bool) -> bytes:
    if private and path.is_symlink():
        raise AuthorityError(f"{path} is a symbolic link; put the key itself there, or name its real place")
    more = _NO_PIPES | (_NO_LINKS if private else 0)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | more)) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise AuthorityError(f"{path} is not a regular file")
            if private and _POSIX:
                _make_private(path, file.fileno(), info)
            return file.read(_MAX_FILE)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise AuthorityError(f"cannot read {path}: {exc.strerror or exc}") from exc


def _make_private(path: Path, descriptor: int, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise AuthorityError(f"{path} belongs to another user; run as that user or choose another ca_key_path")
    if info.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)


def prepare_directory(directory: Path) -> None:
    """Make sure that `directory` exists and that nobody else can put files in place of ours.

    One that we make is 0700. From one that is ours but open to writers the write permissions of others are taken away
    (unless it is sticky, as shared temporary ones are); one neither ours nor root's is refused (AuthorityError).
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = directory.stat()
        if not _POSIX or info.st_mode & stat.S_ISVTX:
            return
        if info.st_uid not in (os.geteuid(), 0):
            raise AuthorityError(f"{directory} belongs to another user, who could replace the certificate authority")
        if info.st_mode & 0o022:
            directory.chmod(stat.S_IMODE(info.st_mode) & ~0o022)
    except OSError as exc:
        raise AuthorityError(f"cannot use {directory}: {exc.strerror or exc}") from exc


def create(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Put `content` at `path` unless something is there already; False then. Raises AuthorityError."""
    temporary = _write_beside(path, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        return _create_without_links(path, content, mode)
    finally:
        _discard(temporary)
    return True


def _create_without_links(path: Path, content: bytes, mode: int) -> bool:
    """For file systems without hard links (FAT, some network mounts): exclusive, but not whole at once."""
    try:
        _write_new(path, content, mode)
    except FileExistsError:
        return False
    except OSError as exc:
        raise AuthorityError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return True


def replace(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path` in one step, whatever is there. Raises AuthorityError."""
    temporary = _write_beside(path, content, mode)
    try:
        temporary.replace(path)
    except OSError as exc:
        _discard(temporary)
        raise AuthorityError(f"cannot write {path}: {exc.strerror or exc}") from exc


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(temporary, content, mode)
    except OSError as exc:
        _discard(temporary)
        raise AuthorityError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return temporary


def _discard(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # a key that a power cut empties would have to be trusted anew everywhere
