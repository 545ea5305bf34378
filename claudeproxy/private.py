"""Files that only their owner may read: opened and replaced so that nobody can slip another file in.

Apart because every package that keeps something on disk needs the same care (`tls.files` has more, for a key). A
symbolic link, a pipe and a file of somebody else are refused; group and world permissions of a file that is ours are
taken away. Errors are OSError with a sentence as `strerror`, which callers put into their own.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_POSIX = os.name == "posix"
_ALWAYS = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its other end
)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that is ours alone; with O_CREAT it is made 0600. Raises OSError."""
    try:
        descriptor = os.open(path, flags | _ALWAYS, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise OSError(error.errno, "it is a symbolic link; put the file itself there", str(path)) from None
        raise
    try:
        _check(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(descriptor: int, path: Path) -> None:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if _POSIX and info.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "it belongs to another user; run as that user, or use another --home", str(path))
    if _POSIX and info.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)


def is_private(path: Path) -> bool:
    """Tell whether there is such a file, without opening it."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and not (_POSIX and (info.st_uid != os.geteuid() or info.st_mode & 0o077))


def read_private(path: Path) -> bytes:
    """The bytes of such a file. Raises OSError."""
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
        return file.read()


def replace_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path` in one step, whatever is there. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ALWAYS, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
