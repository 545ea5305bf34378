"""How a system is told to trust our root, and to forget it: the commands, as data. Runs nothing itself.

Linux keeps anchors in a directory that a tool compiles into bundles; which directory and tool tells the family apart.
macOS and Windows have a store per user, which needs no administrator and binds nobody else: those are used.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANCHOR: Final = "claudeproxy.crt"  # update-ca-certificates reads .crt files only


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, in order, to change a trust store."""

    store: str  # for people
    commands: tuple[tuple[str, ...], ...]
    needs_root: bool

    def lines(self, *, sudo: bool) -> list[str]:
        """The commands as a person types them."""
        prefix = "sudo " if sudo else ""
        return [prefix + (shlex.join(c) if os.name != "nt" else " ".join(c)) for c in self.commands]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxStore:
    """A family of distributions: where anchors lie and what makes them count."""

    name: str
    anchors: str
    refresh: tuple[str, ...]


# The first whose anchor directory and tool are there is the one. Fedora's and openSUSE's before Debian's, whose
# directory some systems keep for compatibility.
LINUX_STORES: Final = (
    LinuxStore(
        name="Fedora, RHEL (update-ca-trust)", anchors="/etc/pki/ca-trust/source/anchors", refresh=("update-ca-trust",)
    ),
    LinuxStore(
        name="Arch (update-ca-trust)", anchors="/etc/ca-certificates/trust-source/anchors", refresh=("update-ca-trust",)
    ),
    LinuxStore(
        name="openSUSE (update-ca-certificates)", anchors="/etc/pki/trust/anchors", refresh=("update-ca-certificates",)
    ),
    LinuxStore(
        name="Debian, Ubuntu, Alpine (update-ca-certificates)",
        anchors="/usr/local/share/ca-certificates",
        refresh=("update-ca-certificates",),
    ),
)


def linux_store(root: Path = Path("/")) -> LinuxStore | None:
    """The store of this system, whose files lie under `root`; None when it is none that we know."""
    for store in LINUX_STORES:
        tool = store.refresh[0]
        has_tool = any((root / place / tool).exists() for place in ("usr/bin", "usr/sbin", "bin", "sbin"))
        if has_tool and (root / store.anchors.lstrip("/")).is_dir():
            return store
    return None


def install_plan(certificate: Path, *, platform: str = sys.platform, store: LinuxStore | None = None) -> Plan | None:
    """How to trust `certificate`; None when we do not know how on this system."""
    command: tuple[str, ...]
    if platform == "darwin":
        command = ("security", "add-trusted-cert", "-r", "trustRoot", "-p", "ssl", "-k", _keychain(), str(certificate))
        return Plan(store="login keychain", commands=(command,), needs_root=False)
    if platform == "win32":
        command = ("certutil", "-user", "-addstore", "Root", str(certificate))
        return Plan(store="the user's Trusted Root Certification Authorities", commands=(command,), needs_root=False)
    if store is None:
        return None
    copy = ("install", "-m", "0644", str(certificate), f"{store.anchors}/{ANCHOR}")
    return Plan(store=store.name, commands=(copy, store.refresh), needs_root=True)


def uninstall_plan(
    certificate: Path, *, sha1: str, platform: str = sys.platform, store: LinuxStore | None = None
) -> Plan | None:
    """How to forget it. `sha1`: the certificate's SHA-1 in hex, by which keychains and Windows know it."""
    if platform == "darwin":
        commands = (
            ("security", "remove-trusted-cert", str(certificate)),
            ("security", "delete-certificate", "-Z", sha1.upper(), _keychain()),
        )
        return Plan(store="login keychain", commands=commands, needs_root=False)
    if platform == "win32":
        command = ("certutil", "-user", "-delstore", "Root", sha1.lower())
        return Plan(store="the user's Trusted Root Certification Authorities", commands=(command,), needs_root=False)
    if store is None:
        return None
    # Debian's tool leaves links to removed files behind unless it is told to look afresh.
    refresh = (*store.refresh, "--fresh") if store.refresh == ("update-ca-certificates",) else store.refresh
    return Plan(store=store.name, commands=(("rm", "-f", f"{store.anchors}/{ANCHOR}"), refresh), needs_root=True)


def is_root() -> bool:
    """Whether we may write to the system's store (on Windows and macOS the question does not arise)."""
    return not hasattr(os, "geteuid") or os.geteuid() == 0


def _keychain() -> str:
    return str(Path.home() / "Library/Keychains/login.keychain-db")
