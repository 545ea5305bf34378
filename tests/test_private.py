"""Files that nobody else may read or replace, the kinds that there are one by one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.locks import FileLock
from claudeproxy.capture.pause import PauseFile
from claudeproxy.capture.secret import load_or_create_secret
from claudeproxy.config.home import Home
from claudeproxy.errors import ConfigError, JournalError, StorageError
from claudeproxy.private import open_private, read_private, replace_private
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy_cli.main import main
from claudeproxy_cli.running import RunningServer, write_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")
SERVER = RunningServer(pid=1, proxy=("127.0.0.1", 1), api=None, version="9")


def database(place: Path) -> None:
    CaptureStorage(place / "captures.db").close()


def journal(place: Path) -> None:
    JournalWriter(place / "journal").close()


def lock(place: Path) -> None:
    FileLock(place / "lock").acquire()


def secret(place: Path) -> None:
    load_or_create_secret(place / "secret")


def pause(place: Path) -> None:
    PauseFile(place / "paused").pause(now=1, until=None)


def state(place: Path) -> None:
    write_state(place / "serve.json", SERVER)


def authority(place: Path) -> None:
    CertificateAuthority.load_or_create_ca(place / "ca.crt", place / "ca.key")


def export(place: Path) -> None:
    CaptureStorage(place / "captures.db").close()
    assert main(["export", "--home", str(place), "--output", str(place / "out.jsonl")]) == 0


MAKERS: list[Callable[[Path], None]] = [database, journal, lock, secret, pause, state, authority, export]


@pytest.mark.parametrize("make", MAKERS)
def test_every_file_is_0600_and_every_directory_0700_whatever_the_umask_says(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    place = tmp_path / "home"
    before = os.umask(0)
    try:
        Home(path=place).create()
        make(place)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place, *place.rglob("*")]}
    assert modes
    open_to_others = {name for name, mode in modes.items() if mode & 0o077}
    assert open_to_others == set()


@pytest.mark.parametrize(
    ("make", "name", "error"),
    [(database, "captures.db", StorageError), (lock, "lock", OSError), (secret, "secret", JournalError)],
)
def test_a_symbolic_link_in_a_files_place_is_refused_and_its_target_untouched(
    tmp_path: Path, make: Callable[[Path], None], name: str, error: type[Exception]
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    (place / name).symlink_to(target)
    with pytest.raises(error, match="symbolic link"):
        make(place)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize(("make", "name"), [(pause, "paused"), (state, "serve.json")])
def test_a_link_in_place_of_a_file_that_is_replaced_is_replaced_itself(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / name).symlink_to(target)
    make(tmp_path)
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / name).is_symlink()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_of_ours_that_others_could_read_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    file.chmod(0o644)
    assert read_private(file) == b"x"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_pipe_and_a_directory_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="not a regular file"):
            open_private(tmp_path / name, os.O_RDONLY)


def test_a_replacement_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(OSError):
        replace_private(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make files of others")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.chown(file, 65534, 65534)
    with pytest.raises(OSError, match="belongs to another user"):
        open_private(file, os.O_RDONLY)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_home_of_another_user_is_refused() -> None:
    """As somebody else, in a process of its own."""
    code = (
        "import os, sys; from pathlib import Path; from claudeproxy.config.home import Home; "
        "from claudeproxy.errors import ConfigError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Home(path=Path(sys.argv[1])).create()\n"
        "except ConfigError as error: print(error)"
    )
    with tempfile.TemporaryDirectory() as place:  # others cannot get at those of pytest
        os.chmod(place, 0o777)
        done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True)
    assert "belongs to another user" in done.stdout


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--home"):
        Home(path=tmp_path / "file").create()
