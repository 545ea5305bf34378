"""One authority for the upstreams of these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hygiene.support import upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["upstream_ca"]


@pytest.fixture(autouse=True)
def small_trust_store(upstream_ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL reads this file in place of the system's store, which takes longer than a whole test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(upstream_ca))
    monkeypatch.setenv("SSL_CERT_DIR", str(upstream_ca.parent))
