"""The wiring: what is made, what is refused at the start, and what each switch turns off."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from claudeproxy.capture.pause import PauseFile
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.daily import DailyRetention
from claudeproxy.errors import AuthorityError, ConfigError, StorageError
from claudeproxy.model import Instants
from claudeproxy.retaining import RetentionSettings
from claudeproxy.service import ClaudeProxy, ServiceAddresses
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing import always, text
from claudeproxy.translating import proxy_settings
from tests.store.exchanges import exchange
from tests.support.service import ask, captured, configuration, mocking, prompt, serving, wait_captured

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def test_it_runs_without_an_api_and_says_where_it_listens(home: Path) -> None:
    service = ClaudeProxy(configuration(home))
    assert service.health()["proxy"] is None  # before it runs it has little to say, and says it
    async with trio.open_nursery() as nursery:
        addresses: ServiceAddresses = await nursery.start(service.run)
        assert addresses.api is None
        ((host, port),) = addresses.proxy
        assert (host, port > 0) == ("127.0.0.1", True)
        assert service.health()["status"] == "ok"
        nursery.cancel_scope.cancel()


async def test_health_counts_what_happened(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url) as running:
        async with running.client() as client:
            await ask(client, prompt("hello"))
        await wait_captured(home, 1)
        assert running.service is not None
        health = running.service.health()
        assert health["capture"]["exchanges"] == 1  # type: ignore[index]
        assert health["recorder"]["restarts"] == 0  # type: ignore[index]
        with running.service.open_storage() as storage:
            assert storage.read_only
            assert storage.summary().requests == 1


@pytest.mark.parametrize("key", ["enabled", "capture_enabled"])
async def test_a_switch_that_is_off_stores_nothing_and_relays_all_the_same(home: Path, key: str) -> None:
    off: dict[str, Any] = {key: False}
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, **off) as running:
        async with running.client("reverse") as client:
            assert (await ask(client, prompt("hello"))).status_code == 200
        assert running.service is not None
        assert (running.service.health()["capture"], running.service.health()["recorder"]) == (None, None)
    assert not (home / "captures.db").exists()
    assert not (home / "journal").exists()


async def test_switched_off_it_decrypts_nothing(home: Path) -> None:
    """The tunnel leads to the host itself: here to a port where nobody is, which only a blind tunnel finds out."""
    async with mocking(always(text("hi"))) as mock:
        nowhere = {"api.anthropic.com": "127.0.0.1"}
        async with serving(home, mock.url, enabled=False, upstream_addresses=nowhere) as running:
            trust = ssl.create_default_context(cafile=str(running.ca))
            async with httpx.AsyncClient(proxy=running.url, verify=trust, trust_env=False) as client:
                with pytest.raises(httpx.ProxyError, match="502"):
                    await client.get("https://api.anthropic.com:9/")
        assert mock.received == []


async def test_retention_runs_beside_it_and_its_failure_ends_nothing(home: Path) -> None:
    """With a run that is due at once: the first one fails for a lock that is no file, the next one deletes."""
    with CaptureStorage(home / "captures.db") as storage:
        storage.record([exchange(0, instants=Instants(request_initiated=1))], {})
    lock = home / "captures.db.retention"
    lock.mkdir()
    service = ClaudeProxy(configuration(home))
    daily = DailyRetention(RetentionSettings.of(service.config), first=0, look=0.01)
    service._retention = daily
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        with trio.fail_after(30):
            while not daily.failures:  # noqa: ASYNC110
                await trio.sleep(0.01)
            lock.rmdir()
            daily._not_before = 0.0
            while not daily.runs:  # noqa: ASYNC110
                await trio.sleep(0.01)
        health = service.health()
        nursery.cancel_scope.cancel()
    assert health["retention"]["last"]["requests"] == 1  # type: ignore[index]
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        assert storage.summary().requests == 0


async def test_health_says_that_capture_is_paused(home: Path) -> None:
    service = ClaudeProxy(configuration(home))
    home.mkdir()
    file = PauseFile(service.config.paths.pause_file)
    far = 4_000_000_000 * 10**9
    file.pause(now=1_790_000_000 * 10**9, until=far)
    assert service.health()["paused"] == {"since": "2026-09-21T14:13:20Z", "until": "2096-10-02T07:06:40Z"}
    file.resume()
    assert service.health()["paused"] is None


async def test_a_host_that_the_authority_does_not_cover_is_said_with_the_remedy(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url):
        pass
    with pytest.raises(ConfigError, match=r"intercept_hosts names gateway\.example.*ca rotate"):
        await ClaudeProxy(configuration(home, intercept_hosts=("anthropic.com", "gateway.example"))).run()


async def test_an_upstream_ca_that_cannot_be_read_is_said_at_the_start(home: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("no certificate")
    for name in ("junk.pem", "missing.pem"):
        with pytest.raises((ConfigError, AuthorityError), match=name):
            await ClaudeProxy(configuration(home, upstream_ca=tmp_path / name)).run()


async def test_a_database_that_cannot_be_used_is_said_at_the_start(home: Path) -> None:
    (home / "captures.db").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot open the database"):
        await ClaudeProxy(configuration(home)).run()


async def test_an_exchange_without_room_in_the_journal_is_logged_and_makes_health_degraded(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = prompt("x" * (65 << 20))
    async with mocking(always(text("ok")), max_body_bytes=100 << 20) as mock:
        async with (
            serving(home, mock.url, journal_max_bytes=64 << 20, max_body_bytes=100 << 20) as running,
            running.client() as client,
        ):
            assert (await ask(client, body)).status_code == 200
            assert running.service is not None
            assert running.service.health()["status"] == "degraded"
    (pair,) = captured(home)
    assert pair.request.body_kept == "dropped"
    assert pair.request.body_length == len(body)
    assert capsys.readouterr().err.count("capture incomplete") == 1


def test_the_relay_is_told_what_the_configuration_says(home: Path) -> None:
    config = ClaudeProxyConfig.isolated(
        home=home,
        bind_address="127.0.0.1:1234",
        upstream="https://gateway.example/base",
        upstream_proxy="http://me:dummy@corp.example:3128",
        proxy_auth="you:dummy",
        upstream_addresses={"api.anthropic.com": "192.0.2.1"},
        accepted_hosts=("box.example",),
        intercept_hosts=("anthropic.com",),
        connect_timeout=3.0,
        max_head_bytes=9000,
    )
    settings = proxy_settings(config)
    assert (settings.bind_host, settings.bind_port) == ("127.0.0.1", 1234)
    assert str(settings.upstream) == "https://gateway.example/base"
    assert settings.upstream_proxy is not None
    assert settings.upstream_proxy.authorization == b"Basic bWU6ZHVtbXk="
    assert settings.proxy_auth == "you:dummy"
    assert settings.upstream_addresses == {"api.anthropic.com": "192.0.2.1"}
    assert settings.accepted_hosts == {"box.example"}
    assert "api.anthropic.com" in settings.intercept
    assert "claude.ai" not in settings.intercept
    assert (settings.connect_timeout, settings.max_head_bytes) == (3.0, 9000)
    assert "dummy" not in repr(settings)


def test_without_further_words_the_relay_goes_where_the_client_asked(home: Path) -> None:
    settings = proxy_settings(configuration(home))
    assert (settings.upstream, settings.upstream_proxy, settings.proxy_auth) == (None, None, None)
