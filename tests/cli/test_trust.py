from __future__ import annotations

from pathlib import Path

import pytest

from claudeproxy_cli.trust import LINUX_STORES, LinuxStore, install_plan, linux_store, uninstall_plan

CERTIFICATE = Path("/home/me/.claude-proxy/ca.crt")


def _system(root: Path, store: LinuxStore, place: str = "usr/sbin") -> None:
    (root / store.anchors.lstrip("/")).mkdir(parents=True)
    (root / place).mkdir(parents=True, exist_ok=True)
    (root / place / store.refresh[0]).touch()


@pytest.mark.parametrize("store", LINUX_STORES, ids=lambda store: store.name.split()[0].strip(","))
def test_a_distribution_is_known_by_its_directory_and_its_tool(tmp_path: Path, store: LinuxStore) -> None:
    _system(tmp_path, store)
    assert linux_store(tmp_path) == store


def test_a_directory_without_its_tool_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "usr/local/share/ca-certificates").mkdir(parents=True)
    assert linux_store(tmp_path) is None
    assert install_plan(CERTIFICATE, platform="linux", store=None) is None
    assert uninstall_plan(CERTIFICATE, sha1="ab", platform="linux", store=None) is None


def test_debian_and_fedora_copy_and_refresh_as_root() -> None:
    fedora, *_, debian = LINUX_STORES
    plan = install_plan(CERTIFICATE, platform="linux", store=debian)
    assert plan is not None
    assert plan.needs_root
    assert plan.lines(sudo=True) == [
        "sudo install -m 0644 /home/me/.claude-proxy/ca.crt /usr/local/share/ca-certificates/claudeproxy.crt",
        "sudo update-ca-certificates",
    ]
    plan = install_plan(CERTIFICATE, platform="linux", store=fedora)
    assert plan is not None
    assert plan.lines(sudo=False) == [
        "install -m 0644 /home/me/.claude-proxy/ca.crt /etc/pki/ca-trust/source/anchors/claudeproxy.crt",
        "update-ca-trust",
    ]


def test_uninstalling_removes_what_was_installed() -> None:
    fedora, *_, debian = LINUX_STORES
    plan = uninstall_plan(CERTIFICATE, sha1="ab", platform="linux", store=debian)
    assert plan is not None
    assert plan.commands == (
        ("rm", "-f", "/usr/local/share/ca-certificates/claudeproxy.crt"),
        ("update-ca-certificates", "--fresh"),
    )
    plan = uninstall_plan(CERTIFICATE, sha1="ab", platform="linux", store=fedora)
    assert plan is not None
    assert plan.commands[1] == ("update-ca-trust",)


@pytest.mark.parametrize(("platform", "tool"), [("darwin", "security"), ("win32", "certutil")])
def test_macos_and_windows_use_the_users_own_store(platform: str, tool: str) -> None:
    install = install_plan(CERTIFICATE, platform=platform)
    uninstall = uninstall_plan(CERTIFICATE, sha1="AbCd", platform=platform)
    assert install is not None
    assert uninstall is not None
    assert not install.needs_root
    assert {command[0] for command in (*install.commands, *uninstall.commands)} == {tool}
    assert str(CERTIFICATE) in install.commands[0]
    assert any("abcd" in part.lower() for part in uninstall.commands[-1])


def test_paths_with_spaces_survive_a_shell() -> None:
    plan = install_plan(Path("/a b/ca.crt"), platform="linux", store=LINUX_STORES[-1])
    assert plan is not None
    assert "'/a b/ca.crt'" in plan.lines(sudo=False)[0]
