"""The API of a service: configured as the service is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

import claudeproxy
from claudeproxy.api import serve
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from claudeproxy.store.storage import CaptureStorage
    from tests.api.conftest import Captures

TOKEN = "a-dummy-token-of-some-length"


@dataclass
class Service:
    config: ClaudeProxyConfig
    captures: Captures

    def open_storage(self) -> CaptureStorage:
        return self.captures.reader()

    def health(self) -> Mapping[str, object]:
        return {"drops": 0}

    def erase_journals(self, cursors: Mapping[str, tuple[int, int]]) -> int:
        return len(cursors)


def service(captures: Captures, home: Path, **keys: object) -> Service:
    return Service(ClaudeProxyConfig.load(home, None, api_address="127.0.0.1:0", **keys), captures)


async def test_it_serves_captures_and_health_under_the_configured_names(captures: Captures, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve, service(captures, tmp_path, accepted_hosts=["box.example"]))
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as api:
            assert (await api.get("/api/claude/requests")).json()["total"] == 12
            health = (await api.get("/api/claude/health", headers={"host": "box.example"})).json()
            assert (health["status"], health["version"], health["drops"]) == ("ok", claudeproxy.__version__, 0)
            assert (await api.get("/api/claude/health", headers={"host": "other.example"})).status_code == 403
        nursery.cancel_scope.cancel()


async def test_the_configured_token_is_checked(captures: Captures, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve, service(captures, tmp_path, api_token=TOKEN))
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as api:
            for token, status in ((TOKEN, 200), ("wrong", 401)):
                answer = await api.get("/api/claude/health", headers={"authorization": f"Bearer {token}"})
                assert answer.status_code == status
            # On loopback too: that is everybody's who has an account on this machine.
            assert (await api.get("/api/claude/health")).status_code == 401
        nursery.cancel_scope.cancel()


async def test_beyond_loopback_the_token_is_required(captures: Captures, tmp_path: Path) -> None:
    everywhere = Service(ClaudeProxyConfig.load(tmp_path, None, api_address="0.0.0.0:0", api_token=TOKEN), captures)
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve, everywhere)
        async with httpx.AsyncClient(trust_env=False) as api:
            url = f"http://127.0.0.1:{address.rpartition(':')[2]}/api/claude/health"
            assert (await api.get(url)).status_code == 401
            assert (await api.get(url, headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        nursery.cancel_scope.cancel()


async def test_a_busy_port_is_a_configuration_error(captures: Captures, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve, service(captures, tmp_path))
        second = Service(ClaudeProxyConfig.load(tmp_path, None, api_address=address), captures)
        with pytest.raises(ConfigError, match="another program"):
            await serve(second)
        nursery.cancel_scope.cancel()
