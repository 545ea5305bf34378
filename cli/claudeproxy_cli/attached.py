"""A proxy of our own: ``claudeproxy serve --attached`` as a child process that ends with us.

A process, not a thread or a nursery here: the one that waits for the command must do nothing else, and a proxy that
fails can be looked at in its log. It is bound to us by its standard input, a pipe: when that closes, for whatever
reason (SIGKILL too), it drains, records what its journal holds, and ends. It runs in a session of its own, so that a
Ctrl-C meant for the command does not reach it. It publishes no state file: nobody else may come to depend on it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from claudeproxy.errors import ClaudeProxyError
from claudeproxy.private import open_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import IO

    from claudeproxy.config.home import Home

START_SECONDS: Final = 30.0  # a cold start on a busy machine takes three
MAX_LOG_BYTES: Final = 4 << 20  # two files of this at the most


class StartError(ClaudeProxyError):
    """The proxy did not start; one line that says why."""


class AttachedServer:
    """A running child; `address` is where its proxy listens. Ends with `stop`, or when this process does."""

    def __init__(self, process: subprocess.Popen[bytes], address: tuple[str, int]) -> None:
        self._process = process
        self.address = address

    @classmethod
    def start(
        cls,
        home: Home,
        config: Path | None,
        *,
        environment: Mapping[str, str],
        flags: tuple[str, ...] = (),
        listener: socket.socket | None = None,
    ) -> AttachedServer:
        """Start one on a free loopback port and wait until it listens. Raises StartError.

        `environment` may carry CLAUDEPROXY_* keys: unlike arguments, others cannot read it with ps. `listener` is the
        socket to serve, in place of a port of its own; it stays ours too.
        """
        # -P: without it `-m` looks for modules in the directory we stand in, and that is somebody's project.
        command = [sys.executable, "-P", "-m", "claudeproxy_cli", "serve", "--attached", "--home", str(home.path)]
        command += ["--bind", "127.0.0.1:0", *(() if config is None else ("--config", str(config))), *flags]
        kept = () if listener is None else (listener.fileno(),)
        command += [f"--listen-fd={number}" for number in kept]
        with _open_log(home.log_file) as log:
            try:
                process = subprocess.Popen(
                    command,
                    env=dict(environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=kept,
                )
            except OSError as error:
                raise StartError(f"cannot start Python again: {error.strerror}") from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = _announcement(process, home.log_file)["proxy"]
        except BaseException:
            process.kill()
            process.wait()
            process.stdin.close()
            raise
        finally:
            process.stdout.close()  # it says nothing more
        return cls(process, address)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def wait(self) -> int:
        """Wait until it ends, by itself or by `stop`; its exit code, negative when a signal ended it."""
        return self._process.wait()

    def stop(self, timeout: float) -> bool:
        """Let it drain and record, `timeout` seconds at the most; whether it ended by itself."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True


def inherited_listener(descriptor: int) -> socket.socket:
    """The server's side: the socket that it was handed. Raises StartError."""
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"--listen-fd {descriptor} is no socket: {error.strerror}") from error
    listener.set_inheritable(False)
    return listener


def _open_log(path: Path) -> IO[bytes]:
    try:
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
        return os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from error


def _announcement(process: subprocess.Popen[bytes], log: Path) -> dict[str, tuple[str, int]]:
    """The one line that it writes when it listens, or when it cannot."""
    assert process.stdout is not None
    # Windows cannot select on pipes; there a child that hangs is waited for.
    if os.name == "posix" and not select.select([process.stdout], [], [], START_SECONDS)[0]:
        raise StartError(f"it did not listen within {START_SECONDS:.0f} seconds; its log is {log}")
    try:
        message = json.loads(process.stdout.readline())
    except ValueError:
        raise StartError(f"it ended before it listened; its log is {log}") from None
    if "error" in message:
        raise StartError(str(message["error"]))
    return {name: (str(address[0]), int(address[1])) for name, address in message.items() if address}


def announce(**addresses: tuple[str, int] | None) -> None:
    """The server's side: say where it listens. Nothing else may be written to standard output before."""
    print(json.dumps(addresses), flush=True)


def announce_failure(error: BaseException) -> None:
    """The server's side: say why it does not."""
    print(json.dumps({"error": " ".join(str(error).split()) or type(error).__name__}), flush=True)
