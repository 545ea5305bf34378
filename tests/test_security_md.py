"""SECURITY.md: each sentence of its lists names tests, and these exist."""

from __future__ import annotations

import ast
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import cli
from tests.store.exchanges import exchange

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NOTES = dict(re.findall(r"^\[\^(\w+)\]: (.+)$", PAGE, re.MULTILINE))
BODY = re.sub(r"^\[\^\w+\]: .+$", "", PAGE, flags=re.MULTILINE)
ITEMS = [" ".join(item.split()) for item in re.findall(r"^- (.+(?:\n  .+)*)", BODY, re.MULTILINE)]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("item", ITEMS)
def test_every_sentence_of_a_list_names_its_tests(item: str) -> None:
    assert re.search(r"\.(?: \[\^\w+\])+$", item), f"{item!r} ends with no reference to a test"
    text = re.sub(r"(?: \[\^\w+\])+$", "", item)
    # One sentence an item: each has tests of its own.
    assert not re.search(r"\.\s+[A-Z]", text), f"{text!r} is more than one sentence"
    assert set(re.findall(r"\[\^(\w+)\]", item)) <= NOTES.keys()


@pytest.mark.parametrize("note", NOTES)
def test_every_test_that_is_named_exists(note: str) -> None:
    assert f"[^{note}]" in BODY, f"{note} is referred to nowhere"
    for reference in NOTES[note].split(", "):
        file, _, name = reference.partition("::")
        assert (ROOT / file).is_file(), reference
        assert name in names_in(ROOT / file), reference


def test_the_page_says_who_can_do_what() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert headings == [
        "What is on the disk",
        "Another user of this machine",
        "A program of yours",
        "A web page that you visit",
        "Somebody on your network",
        "A malicious upstream",
        "A stolen CA key",
        "A stolen database",
        "Report a vulnerability",
    ]
    assert len(ITEMS) > 25
    assert "Encrypt the disk" in PAGE


def test_both_ports_listen_on_loopback_by_default(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.isolated(home=tmp_path)
    assert config.bind.is_loopback
    assert config.api.is_loopback


def test_a_stolen_database_can_be_read_without_a_key(tmp_path: Path) -> None:
    """It is no boast: the page says that it is so, and what to do about it."""
    path = tmp_path / "captures.db"
    with CaptureStorage(path) as storage:
        storage.record([exchange(1, b'{"messages":[{"role":"user","content":"a private matter"}]}')], {})
    stolen = tmp_path / "stolen.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(stolen)) as copy:
        source.backup(copy)
    with CaptureStorage(stolen, read_only=True) as storage:
        request_id = storage._all("SELECT id FROM requests")[0]["id"]
        assert b"a private matter" in storage.request_body(request_id)


@pytest.mark.heavy
def test_the_key_is_in_no_file_but_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in what any command prints, at the most talkative level; nor is a credential of the configuration."""
    home = tmp_path / "home"
    monkeypatch.setenv("CLAUDEPROXY_LOG_LEVEL", "debug")
    credentials = {"API_TOKEN": "dummy-token-of-sixteen", "PROXY_AUTH": "user:dummy-password"}
    for key, value in credentials.items():
        monkeypatch.setenv(f"CLAUDEPROXY_{key}", value)
    assert main(["ca", "path", "--home", str(home)]) == 0
    key = (home / "ca.key").read_bytes().split(b"-----")[2].split(b"\n")[1]
    said = ""
    for command in (["ca", "show"], ["ca", "show", "--json"], ["config", "show"], ["doctor", "--json"]):
        done = cli(*command, "--home", home)
        said += done.stdout + done.stderr
    assert key.decode() not in said
    assert "dummy-token" not in said
    assert "dummy-password" not in said
    holders = {path.name for path in home.rglob("*") if path.is_file() and key in path.read_bytes()}
    assert holders == {"ca.key"}
