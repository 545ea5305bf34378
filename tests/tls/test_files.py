"""Files that nobody else can read or replace."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from claudeproxy.errors import AuthorityError
from claudeproxy.tls import files

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX matters")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _usual_umask() -> None:
    os.umask(0o022)


def test_the_first_to_create_a_file_wins_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    assert files.create(path, b"first")
    assert not files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_hard_links_still_lets_one_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "ca.key"
    assert files.create(path, b"first")
    assert not files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_is_whole_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    files.replace(path, b"first")
    files.replace(path, b"second")
    assert files.read_private(path) == b"second"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_files_are_0600_and_new_directories_0700(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "home"
    files.prepare_directory(directory)
    files.create(directory / "a", b"")
    files.replace(directory / "b", b"")
    assert mode(directory) == 0o700
    assert mode(directory / "a") == mode(directory / "b") == 0o600


@posix
def test_a_directory_of_ours_is_closed_to_other_writers_and_otherwise_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    files.prepare_directory(tmp_path)
    assert mode(tmp_path) == 0o755
    tmp_path.chmod(0o1777)
    files.prepare_directory(tmp_path)
    assert mode(tmp_path) == 0o1777


@posix
def test_a_key_of_ours_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    path.write_bytes(b"key")
    path.chmod(0o644)
    assert files.read_public(path) == b"key"
    assert mode(path) == 0o644
    assert files.read_private(path) == b"key"
    assert mode(path) == 0o600


@posix
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.key"
    path.write_bytes(b"key")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        os.chown(tmp_path, 12345, -1)
    else:
        stranger = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(AuthorityError, match="another user"):
        files.read_private(path)
    with pytest.raises(AuthorityError, match="another user"):
        files.prepare_directory(tmp_path)


def test_a_symbolic_link_in_place_of_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"key")
    link = tmp_path / "ca.key"
    link.symlink_to(tmp_path / "real")
    with pytest.raises(AuthorityError, match="symbolic link"):
        files.read_private(link)
    assert files.read_public(link) == b"key"


def test_what_is_no_file_is_refused_and_what_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError):
        files.read_private(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.read_private(tmp_path / "missing")


@posix
def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.crt")
    with pytest.raises(AuthorityError, match="regular"):
        files.read_public(tmp_path / "ca.crt")


def test_a_place_where_nothing_can_be_written_is_an_authority_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    for act in (files.create, files.replace):
        with pytest.raises(AuthorityError, match="cannot write"):
            act(blocked / "ca.key", b"")
    with pytest.raises(AuthorityError, match="cannot use"):
        files.prepare_directory(blocked / "home")
    with pytest.raises(AuthorityError, match="cannot write"):
        files.replace(tmp_path, b"")  # a directory is there
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    monkeypatch.setattr(files, "_write_new", _fails_the_second_time())
    with pytest.raises(AuthorityError, match="cannot write"):
        files.create(tmp_path / "ca.key", b"")


def _fails_the_second_time() -> object:
    calls: list[object] = []

    def write(*args: object) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise OSError("disk full")

    return write


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is not there anyway")
def test_nothing_here_needs_fcntl() -> None:
    """Windows has none; an import at the top would end every command there."""
    assert not hasattr(files, "fcntl")
