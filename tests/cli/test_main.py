from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy import __version__
from claudeproxy.errors import ConfigError, NotFoundError
from claudeproxy_cli.main import COMMANDS, describe, main
from tests.cli.support import COMMAND, cli

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"claudeproxy {__version__}\n"


def test_help_lists_every_command_and_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.strip().startswith(tuple(COMMANDS))] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_takes_home_and_config(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    subcommands = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    for subcommand in subcommands:
        assert main([name, subcommand, "--help"]) == 0
        out += capsys.readouterr().out
    assert out.count(f"Example: claudeproxy {name}") == max(len(subcommands), 1)
    assert out.count("  --home DIR") == max(len(subcommands), 1)
    assert out.count("  --config FILE") == max(len(subcommands), 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_it_says_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    assert COMMANDS[name][1] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["qury"], "Did you mean 'query'?"),
        (["zzzzz"], "No such command 'zzzzz'."),
        (["query", "--nonsense"], "No such option"),
        (["query", "--limit", "0"], "--limit"),
        (["show"], "Missing argument"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_configuration_that_cannot_be_used_is_code_2_and_one_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "config.yaml").write_text("bind_adress: x")
    assert main(["config", "show", "--home", str(home)]) == 2
    assert capsys.readouterr().err == (
        f"claudeproxy: {home}/config.yaml: unknown key 'bind_adress': did you mean bind_address?\n"
    )


def test_what_is_not_found_names_what_is_near() -> None:
    assert describe(NotFoundError("no request 'x'", near=("xa", "xb"))) == "no request 'x'\ndid you mean xa or xb?"
    long = ("3fa9c2d1-0000-4000-8000-000000000000", "3fa9c2d2-0000-4000-8000-000000000000")
    assert describe(NotFoundError("no", near=long)) == "no\ndid you mean 3fa9c2d1 or 3fa9c2d2?"
    assert long[0] in describe(NotFoundError("no", near=(long[0], f"{long[0][:-1]}1")))
    assert describe(ConfigError("text")) == "text"


def test_a_reader_that_went_away_is_no_error(captured: Path) -> None:
    """The pipe's other end is closed before anything is written, as with `| true`."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [*COMMAND, "show", "00000001", "--home", str(captured), "--body"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    error = process.communicate(timeout=60)[1]
    assert error == ""
    assert process.returncode in {1, 141}


def test_ctrl_c_ends_a_command_without_a_traceback(home: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "ca", "rotate", "--home", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    question = process.stdout.read(20)  # it asks, and waits for an answer
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert b"Clients" in question
    assert b"Traceback" not in rest
    assert process.returncode == 130


def test_reading_commands_import_no_server_no_tls_and_no_tokenizer(captured: Path) -> None:
    heavy = "trio cryptography OpenSSL quart hypercorn h11 tiktoken pydantic structlog rich yaml sqlite_utils"
    heavy += " importlib.metadata importlib.resources asyncio email http secrets socket"
    code = (
        "import sys; had = set(sys.modules); from claudeproxy_cli.main import main; home, *heavy = sys.argv[1:];"
        "lines = ['query', 'show 0000000', 'sources', 'sessions', 'feedback list', 'feedback show 0'];"
        "codes = [main([*line.split(), '--home', home]) for line in lines];"
        "assert codes == [0, 1, 0, 0, 0, 1], codes; came = sys.modules.keys() - had;"  # coverage has its own before
        "sys.exit(repr([name for name in heavy if name in came]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(captured), *heavy.split()], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1] == "[]"


def test_the_list_is_read_without_what_sessions_and_sums_are_made_of(captured: Path) -> None:
    unused = "claudeproxy.insight claudeproxy.export claudeproxy.accounting claudeproxy.attribution claudeproxy.logs"
    unused += " claudeproxy.store.retention claudeproxy.sansio.answer claudeproxy.sansio.encoding"
    code = "import sys; from claudeproxy_cli.main import main; home, *unused = sys.argv[1:];"
    code += "main(['query', '--home', home]); sys.exit(repr([name for name in unused if name in sys.modules]))"
    result = subprocess.run(
        [sys.executable, "-c", code, str(captured), *unused.split()], capture_output=True, text=True, check=False
    )
    assert result.stderr.splitlines()[-1] == "[]"


def test_a_proxy_serves_before_it_loads_api_tokenizer_and_what_explains() -> None:
    """Up to the moment at which its port accepts it has loaded these modules of ours and nothing that they did not."""
    early = "claudeproxy_cli.serve claudeproxy.service claudeproxy.config.effective claudeproxy.api.entry"
    late = "quart hypercorn werkzeug structlog rich tiktoken genai_prices sqlite_utils yaml claudeproxy.attribution"
    late += " claudeproxy.accounting claudeproxy.insight claudeproxy.store.storage claudeproxy.store.retention"
    late += " claudeproxy.recording"
    code = "import sys, claudeproxy_cli.main; early, late = sys.argv[1:]; [__import__(name) for name in early.split()];"
    code += "sys.exit(repr([name for name in late.split() if name in sys.modules]))"
    result = subprocess.run([sys.executable, "-c", code, early, late], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1] == "[]"


def test_the_command_runs_as_a_module() -> None:
    assert cli("--version").stdout == f"claudeproxy {__version__}\n"
