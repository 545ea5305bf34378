"""No test sees the home, the proxy, the certificates or the settings of whoever runs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.support import FOREIGN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("CLAUDEPROXY_") or name in FOREIGN:
            monkeypatch.delenv(name)
    somebody = tmp_path.with_name(f"{tmp_path.name}-somebody")
    somebody.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(somebody))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything in it."""
    return tmp_path / "home"
