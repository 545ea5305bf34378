from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy_cli.child import NOT_EXECUTABLE, NOT_FOUND, CommandError, find_command, run_child
from tests.cli.support import drain

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = dict(os.environ)

# A parent that does what `run` does with its command, and the command itself: it says that it is there, then waits.
PARENT = (
    "import sys; from claudeproxy_cli.child import run_child; import os; sys.exit(run_child(sys.argv[1:], os.environ))"
)
CHILD = """
import signal, sys
def tell(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    if number != signal.SIGWINCH:
        sys.exit(40 + number)
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH"):
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        print("deaf to", name, flush=True)
    else:
        signal.signal(getattr(signal, name), tell)
print("ready", flush=True)
while True:
    signal.pause()
"""


def _start(**more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, sys.executable, "-c", CHILD]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **more)  # type: ignore[call-overload,no-any-return]


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_the_commands(code: int) -> None:
    assert run_child([sys.executable, "-c", f"raise SystemExit({code})"], ENVIRONMENT) == code


def test_a_command_that_a_signal_ends_gives_128_and_its_number() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_child([sys.executable, "-c", code], ENVIRONMENT) == 128 + signal.SIGKILL


def test_what_is_not_there_and_what_is_no_program_have_the_shells_codes(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    for name, code, reason in (
        ("missing", NOT_FOUND, "No such file"),
        ("text", NOT_EXECUTABLE, "Exec format error"),
        ("", NOT_EXECUTABLE, "Permission denied"),
    ):
        with pytest.raises(CommandError, match=f"cannot run .*: {reason}") as caught:
            run_child([str(tmp_path / name)], ENVIRONMENT)
        assert caught.value.code == code


def test_commands_are_found_as_a_shell_finds_them(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    with pytest.raises(CommandError, match="cannot run tool: command not found"):
        find_command("tool", {"PATH": str(tmp_path)})
    with pytest.raises(CommandError, match="it is not executable") as caught:
        find_command(str(tool), {"PATH": ""})
    assert caught.value.code == NOT_EXECUTABLE
    tool.chmod(0o755)
    assert find_command("tool", {"PATH": str(tmp_path)}) == str(tool)
    assert find_command(str(tool), {"PATH": ""}) == str(tool)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_is_sent_to_us_alone_is_passed_on(name: str) -> None:
    with _start() as process:
        assert _line(process) == "ready"
        process.send_signal(getattr(signal, name))
        assert _line(process) == f"got {name}"
        assert process.wait(30) == 40 + getattr(signal, name)


def test_a_changed_window_is_passed_on_and_ends_nothing() -> None:
    with _start() as process:
        assert _line(process) == "ready"
        process.send_signal(signal.SIGWINCH)
        assert _line(process) == "got SIGWINCH"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 40 + signal.SIGTERM


def test_an_interrupt_is_left_to_the_command() -> None:
    """Sent to us alone, as no terminal does it, it reaches nobody; the command goes on."""
    with _start() as process:
        assert _line(process) == "ready"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGQUIT)
        process.send_signal(signal.SIGTERM)
        assert _line(process) == "got SIGTERM"
        assert process.wait(30) == 40 + signal.SIGTERM


def test_ctrl_c_on_a_terminal_reaches_the_command_once_and_its_code_counts() -> None:
    import pty

    pid, leader = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PARENT, sys.executable, "-c", CHILD])
    assert "ready" in drain(leader, until="ready")
    os.write(leader, b"\x03")
    assert drain(leader).count("got SIGINT") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 40 + signal.SIGINT


def test_a_command_can_still_be_interrupted_although_we_survive_it() -> None:
    """exec resets handlers but not SIG_IGN: a child of ours must not be deaf to Ctrl-C."""
    with _start() as process:
        assert _line(process) == "ready"
        os.killpg(process.pid, signal.SIGINT)
        assert _line(process) == "got SIGINT"
        assert process.wait(30) == 40 + signal.SIGINT


def test_what_we_were_started_deaf_to_the_command_is_too() -> None:
    with _start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        assert _line(process) == "deaf to SIGHUP"
        assert _line(process) == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 40 + signal.SIGTERM


def test_signals_are_handled_as_before_afterwards() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run_child([sys.executable, "-c", ""], ENVIRONMENT)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
