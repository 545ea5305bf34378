from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.secret import SECRET_BYTES, load_or_create_secret
from claudeproxy.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import sys
from pathlib import Path
from claudeproxy.capture.secret import load_or_create_secret
sys.stdin.read()
print(load_or_create_secret(Path(sys.argv[1])).hex())
"""


def test_it_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret"
    secret = load_or_create_secret(path)
    assert len(secret) == SECRET_BYTES
    assert load_or_create_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "secret")]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    secrets = {child.communicate()[0].strip() for child in children}
    assert secrets == {load_or_create_secret(tmp_path / "secret").hex()}


def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"short")
    with pytest.raises(JournalError, match="5 bytes instead of 32; delete it"):
        load_or_create_secret(path)


def test_an_unusable_place_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="check its owner"):
        load_or_create_secret(tmp_path / "file" / "secret")
