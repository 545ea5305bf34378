from __future__ import annotations

import json
import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.testing import MockUpstream, always, text
from claudeproxy_cli.environment import Inherited
from claudeproxy_cli.run import overrides
from tests.cli.support import COMMAND, cli
from tests.cli.test_serve import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from subprocess import CompletedProcess

# A client as the SDKs are: it asks the environment for proxy, trust and base URL, and nothing else.
CLIENT = """
import json, os, sys, urllib.request
base = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
body = {"model": "claude-opus-5-5", "max_tokens": 9, "system": "Be brief.",
        "messages": [{"role": "user", "content": "Say hello, " + " ".join(sys.argv[1:])}]}
request = urllib.request.Request(base + "/v1/messages", json.dumps(body).encode(),
    {"content-type": "application/json", "x-api-key": "sk-ant-api03-dummy", "anthropic-version": "2023-06-01"})
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["content"][0]["text"])
sys.exit(7)
"""


@pytest.fixture
async def api() -> AsyncIterator[MockUpstream]:
    mock = MockUpstream(always(text("Hello there")))
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        yield mock
        nursery.cancel_scope.cancel()


async def run(mock: MockUpstream | None, home: Path, *arguments: str, **env: str) -> CompletedProcess[bytes]:
    upstream = {"CLAUDEPROXY_UPSTREAM": mock.url} if mock else {}
    with trio.fail_after(60):
        return await trio.run_process(
            [*COMMAND, "run", "--home", str(home), *arguments],
            env={**os.environ, **upstream, **env},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


def _captures(home: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(cli("query", "--home", home, "--json").stdout)
    return rows


@pytest.mark.parametrize(
    ("flags", "mode"), [((), "connect"), pytest.param(("--reverse",), "reverse", marks=pytest.mark.heavy)]
)
async def test_a_commands_requests_are_captured_and_its_code_passes_through(
    api: MockUpstream, home: Path, flags: tuple[str, ...], mode: str
) -> None:
    result = await run(api, home, *flags, "--", sys.executable, "-c", CLIENT, "-p", "--json")
    errors = result.stderr.decode().splitlines()
    assert result.returncode == 7, errors
    assert result.stdout == b"Hello there\n"
    assert re.match(r"claudeproxy: 1 request, \d+ tokens sent, \d+ received, in ", errors[-4]), errors
    assert re.fullmatch(r"  cost: \$0\.\d{4}", errors[-3])
    assert errors[-2].startswith("  largest sources: ")
    assert "% User" in errors[-2]
    assert f", query --home {home} --since " in errors[-1]
    (row,) = _captures(home)
    assert row["url"] == "https://api.anthropic.com/v1/messages"
    shown = json.loads(cli("show", row["id"], "--home", home, "--json").stdout)
    assert shown["entry_mode"] == mode
    assert "Say hello, -p --json" in cli("show", row["id"], "--home", home, "--body").stdout
    assert api.received[0].headers  # the mock saw it, with the client's own key
    assert "dummy" not in json.dumps(shown)
    assert not (home / "serve.json").exists()


async def test_a_running_server_is_used_and_goes_on(api: MockUpstream, home: Path) -> None:
    with serving(home, "--upstream", api.url) as (process, server):
        result = await run(None, home, "--", sys.executable, "-c", CLIENT)
        assert result.stdout == b"Hello there\n", result.stderr
        assert b"claudeproxy: 1 request" in result.stderr
        assert process.poll() is None
        assert not (home / "run.log").exists()  # no proxy of its own
        show = await run(None, home, "--", sys.executable, "-c", "import os; print(os.environ['HTTPS_PROXY'])")
        assert show.stdout.decode().strip() == server.proxy_url


@pytest.mark.heavy
async def test_a_running_server_is_not_used_where_the_caller_wants_another_way(api: MockUpstream, home: Path) -> None:
    """A key must not go to the API because a server runs that knows nothing of the caller's CLAUDEPROXY_UPSTREAM."""
    with serving(home, "--upstream", "http://127.0.0.1:9"):
        result = await run(api, home, "--", sys.executable, "-c", CLIENT)
    assert result.stdout == b"Hello there\n", result.stderr
    assert b"claudeproxy: 1 request" in result.stderr


async def test_a_project_that_holds_modules_of_our_names_cannot_get_into_the_proxy(
    api: MockUpstream, home: Path, tmp_path: Path
) -> None:
    """`python -m` looks into the directory it is started in first, and `run` is started in anybody's project."""
    project = tmp_path / "project"
    (project / "claudeproxy").mkdir(parents=True)
    for name in ("claudeproxy/__init__.py", "trio.py", "sqlite3.py", "json.py"):
        (project / name).write_text("raise SystemExit('the wrong module')")
    command = [sys.executable, "-P", "-m", "claudeproxy_cli", "run", "--home", str(home), "--"]
    with trio.fail_after(60):
        result = await trio.run_process(
            [*command, sys.executable, "-P", "-c", CLIENT],
            env={**os.environ, "CLAUDEPROXY_UPSTREAM": api.url},
            cwd=project,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert result.stdout == b"Hello there\n", result.stderr
    assert b"claudeproxy: 1 request, " in result.stderr
    assert "the wrong module" not in (home / "run.log").read_text()


async def test_what_is_no_program_is_said_and_nothing_is_guessed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    result = await run(None, home, "--", str(tmp_path / "text"))
    assert result.returncode == 126
    assert result.stderr.decode() == f"claudeproxy: cannot run {tmp_path}/text: Exec format error\n"


@pytest.mark.heavy
async def test_the_callers_own_proxy_becomes_ours(home: Path) -> None:
    """Its address is nowhere: that the answer is our 502 and names the proxy shows that it was asked."""
    environment = {"HTTPS_PROXY": "http://me:dummypass@127.0.0.1:9", "NO_PROXY": "*"}
    code = CLIENT.replace(
        "with urllib",
        "import urllib.error\ntry: urllib.request.urlopen(request)\n"
        "except urllib.error.HTTPError as error: print(error.code)\nsys.exit(0)\nwith urllib",
    )
    result = await run(None, home, "--", sys.executable, "-c", code, **environment)
    assert result.stdout == b"502\n", result.stderr
    assert b"taken out of NO_PROXY, because it covers the API: *" in result.stderr
    assert b"1 request (1 failed)" in result.stderr
    assert b"dummypass" not in result.stderr
    assert "dummypass" not in (home / "run.log").read_text()


@pytest.mark.heavy
async def test_a_run_that_captured_nothing_says_why(home: Path) -> None:
    result = await run(None, home, "--", "true", ANTHROPIC_BASE_URL="https://gateway.example")
    assert result.returncode == 0
    lines = result.stderr.decode().splitlines()
    assert lines[-3:] == [
        "claudeproxy: nothing was captured",
        "  likely cause: ANTHROPIC_BASE_URL points at gateway.example, which is not intercepted",
        "  remedy: use `claudeproxy run --reverse`",
    ]


@pytest.mark.heavy
async def test_a_settings_file_that_shadows_ours_is_said_before_and_after(home: Path) -> None:
    settings = Path.home() / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"HTTPS_PROXY": "http://other.example:1"}}))
    true = shutil.which("true")
    assert true
    (Path.home() / "claude").symlink_to(true)
    result = await run(None, home, "--", str(Path.home() / "claude"))
    said = result.stderr.decode()
    assert said.count(f"{settings} sets HTTPS_PROXY in its env block") == 2
    assert "other.example" not in said


@pytest.mark.parametrize("flags", [(), ("--strict",)])
async def test_a_proxy_that_cannot_start_stops_nothing_unless_strict(home: Path, flags: tuple[str, ...]) -> None:
    environment = {"CLAUDEPROXY_UPSTREAM_CA": "/nowhere.pem"}
    result = await run(None, home, *flags, "--", "sh", "-c", "echo ran; exit 4", **environment)
    (line,) = result.stderr.decode().splitlines()
    assert "the proxy cannot start" in line
    assert (result.returncode, result.stdout) == ((125, b"") if flags else (4, b"ran\n"))


async def test_a_command_that_is_not_there_is_127_before_anything_starts(home: Path) -> None:
    result = await run(None, home, "--", "no-such-command-\x1b[31m")
    assert result.returncode == 127
    assert result.stderr == b"claudeproxy: cannot run no-such-command-[31m: command not found\n"
    assert not await trio.Path(home).exists()


async def test_a_signal_that_ends_the_command_is_its_code(home: Path) -> None:
    result = await run(None, home, "--", "sh", "-c", "kill -9 $$")
    assert result.returncode == 137


def test_without_a_command_it_is_a_usage_error(home: Path) -> None:
    assert cli("run", "--home", home).returncode == 2


@pytest.fixture
def config(home: Path) -> partial[ClaudeProxyConfig]:
    return partial(ClaudeProxyConfig.isolated, home=home)


def test_our_proxy_takes_over_what_the_configuration_leaves_open(
    config: partial[ClaudeProxyConfig], home: Path
) -> None:
    way = Inherited(upstream_proxy="http://corp:1", upstream="https://gateway.example", notes=())
    corporate = home.with_name("corporate.pem")
    corporate.touch()
    caller = {"NODE_EXTRA_CA_CERTS": str(corporate)}
    assert overrides(config(), way, caller, ours=[]) == {
        "CLAUDEPROXY_UPSTREAM_PROXY": "http://corp:1",
        "CLAUDEPROXY_UPSTREAM": "https://gateway.example",
        "CLAUDEPROXY_UPSTREAM_CA": str(corporate),
    }
    settled = config(upstream_proxy="http://a:1", upstream="http://b:2", upstream_ca=corporate)
    assert overrides(settled, way, caller, ours=[]) == {}


def test_our_own_certificate_is_not_trusted_upstream(config: partial[ClaudeProxyConfig], home: Path) -> None:
    nothing = Inherited(upstream_proxy=None, upstream=None, notes=())
    own = home / "ca.crt"
    assert overrides(config(), nothing, {"NODE_EXTRA_CA_CERTS": str(own)}, ours=[str(own)]) == {}
    assert overrides(config(), nothing, {"NODE_EXTRA_CA_CERTS": "/missing"}, ours=[]) == {}
