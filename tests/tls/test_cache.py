"""`CertificateCache`: once per host, bounded, renewed in time."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.errors import AuthorityError
from claudeproxy.tls.authority import CertificateAuthority, Leaf
from claudeproxy.tls.cache import RENEW_BEFORE, CacheStatistics, CertificateCache

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate_root_ca()


def test_a_host_gets_one_leaf_however_it_is_spelled(authority: CertificateAuthority) -> None:
    cache = CertificateCache(authority)
    leaf = cache.get_server_config("api.anthropic.com")
    assert cache.get_server_config("API.ANTHROPIC.COM.") is leaf
    assert cache.statistics() == CacheStatistics(hosts=1, hits=1, issued=1, renewed=0, evicted=0)


def test_the_least_recently_used_host_goes_first(authority: CertificateAuthority) -> None:
    cache = CertificateCache(authority, max_hosts=2)
    first = cache.get_server_config("a.claude.ai")
    cache.get_server_config("b.claude.ai")
    assert cache.get_server_config("a.claude.ai") is first
    cache.get_server_config("c.claude.ai")
    assert cache.get_server_config("a.claude.ai") is first
    statistics = cache.statistics()
    assert (statistics.hosts, statistics.issued, statistics.evicted) == (2, 3, 1)
    assert repr(cache) == "<CertificateCache 2 of 2 hosts>"


async def test_tasks_and_threads_that_ask_together_share_one_leaf(authority: CertificateAuthority) -> None:
    issued: list[Leaf] = []
    cache = CertificateCache(authority, on_issued=issued.append)
    leaves: list[Leaf] = []

    async def ask(thread: bool) -> None:
        if thread:
            leaves.append(await trio.to_thread.run_sync(cache.get_server_config, "claude.ai"))
        else:
            leaves.append(cache.get_server_config("claude.ai"))

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(ask, number % 2 == 0)
    assert {id(leaf) for leaf in leaves} == {id(issued[0])}
    assert len(issued) == 1


def test_a_leaf_is_renewed_before_it_ends() -> None:
    clock = Clock()
    cache = CertificateCache(CertificateAuthority.generate_root_ca(clock=clock), clock=clock)
    leaf = cache.get_server_config("claude.ai")
    clock.now = leaf.not_after - RENEW_BEFORE - timedelta(seconds=1)
    assert cache.get_server_config("claude.ai") is leaf
    clock.now += timedelta(seconds=2)
    renewed = cache.get_server_config("claude.ai")
    assert renewed.not_after > leaf.not_after
    assert cache.statistics().renewed == 1


def test_a_leaf_that_ends_with_its_authority_is_not_issued_again_and_again() -> None:
    clock = Clock()
    authority = CertificateAuthority.generate_root_ca(clock=clock)
    cache = CertificateCache(authority, clock=clock)
    clock.now = authority.not_after - timedelta(days=5)
    leaf = cache.get_server_config("claude.ai")
    assert leaf.not_after == authority.not_after
    assert cache.get_server_config("claude.ai") is leaf
    clock.now = authority.not_after
    with pytest.raises(AuthorityError, match="expired"):
        cache.get_server_config("claude.ai")


def test_a_host_that_is_not_covered_is_an_error_and_not_remembered(authority: CertificateAuthority) -> None:
    cache = CertificateCache(authority)
    with pytest.raises(AuthorityError):
        cache.get_server_config("example.com")
    assert cache.statistics().hosts == 0


def test_both_contexts_are_made_once(authority: CertificateAuthority, tmp_path: Path) -> None:
    extra = tmp_path / "extra.pem"
    extra.write_bytes(authority.root_pem)
    cache = CertificateCache(authority, upstream_ca=extra)
    assert cache.server_context() is cache.server_context()
    context = cache.get_client_config()
    assert context is cache.get_client_config()
    assert isinstance(context, ssl.SSLContext)
    assert ssl.PEM_cert_to_DER_cert(authority.root_pem.decode()) in context.get_ca_certs(binary_form=True)
