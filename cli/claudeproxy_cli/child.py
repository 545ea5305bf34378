"""A command run in our place: same terminal, same process group, same signals, same exit code.

The child inherits standard input, output and error, so a terminal is a terminal and a pipe a pipe. It stays in our
process group, so Ctrl-C, Ctrl-\\ and Ctrl-Z reach it from the terminal as if we were not there; we only have to survive
them. What is sent to us alone (TERM, HUP, and WINCH, which some terminals' wrappers send) is passed on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from claudeproxy.errors import ClaudeProxyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class CommandError(ClaudeProxyError):
    """The command could not be started; `code` is what a shell would end with."""

    def __init__(self, command: str, code: int, reason: str) -> None:
        super().__init__(f"cannot run {command}: {reason}")
        self.code = code


NOT_EXECUTABLE: Final = 126  # as shells say it
NOT_FOUND: Final = 127

# By name, because Windows has neither SIGQUIT nor SIGHUP nor SIGWINCH.
_LEFT_TO_CHILD: Final = ("SIGINT", "SIGQUIT")
_FORWARDED: Final = ("SIGTERM", "SIGHUP", "SIGWINCH")


def find_command(name: str, environment: Mapping[str, str]) -> str:
    """The file that `name` names, as a shell would find it. Raises CommandError."""
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None and os.path.dirname(name) and os.path.exists(name):
        raise CommandError(name, NOT_EXECUTABLE, "it is not executable")
    if found is None:
        raise CommandError(name, NOT_FOUND, "command not found")
    return found


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it to its end and return its exit code; 128+n when signal n ended it (on POSIX).

    Raises CommandError when it cannot be started: code 126 when it is no program, 127 when it is not there.
    """
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # what came before the child was there: it must not be lost

    def forward(number: int, _frame: object) -> None:
        if started:
            _send(started[0], number)
        else:
            early.append(number)

    with _handlers(_LEFT_TO_CHILD, _survive), _handlers(_FORWARDED, forward):
        try:
            process = subprocess.Popen(command, env=dict(environment))
        except FileNotFoundError as error:  # it, or the interpreter that its first line names
            raise CommandError(command[0], NOT_FOUND, error.strerror or "not found") from None
        except OSError as error:  # no permission, or not a program
            raise CommandError(command[0], NOT_EXECUTABLE, error.strerror or "no program") from None
        started.append(process)
        for number in early:
            _send(process, number)
        code = process.wait()
    return 128 - code if code < 0 else code


def _survive(_number: int, _frame: object) -> None:
    """Do nothing. Not SIG_IGN, which the child would inherit and be deaf; a handler is reset by exec."""


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)


@contextmanager
def _handlers(names: Sequence[str], handler: signal._HANDLER) -> Iterator[None]:
    """Install `handler` for a while; a signal that we were started deaf to (nohup, a shell's &) stays ignored."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number in numbers if previous[number] is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, previous[number])
