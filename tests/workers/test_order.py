"""What a worker is told goes through a pipe whole, or counts for nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.translating import relay_settings
from claudeproxy.workers.order import Order, read_order

if TYPE_CHECKING:
    from pathlib import Path


def order(home: Path) -> Order:
    config = ClaudeProxyConfig.isolated(
        home=home,
        proxy_auth="me:dummy",
        upstream_proxy="http://me:dummy@proxy.example:3128",
        upstream="https://gateway.example/base",
        upstream_addresses={"api.anthropic.com": "127.0.0.1"},
        accepted_hosts=("proxy.example",),
    )
    return Order(settings=relay_settings(config), worker=1, workers=2, listeners=[7], board=8, wake=9)


def through_a_pipe(data: bytes) -> Order | None:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    found = read_order(reading)
    os.close(reading)
    return found


def test_an_order_arrives_as_it_was_sent_secrets_too(tmp_path: Path) -> None:
    sent = order(tmp_path)
    found = through_a_pipe(sent.to_bytes())
    assert found is not None
    assert found.settings.proxy.proxy_auth == "me:dummy"
    assert found.settings.proxy.upstream_proxy == sent.settings.proxy.upstream_proxy
    assert list(found.settings.proxy.intercept) == list(sent.settings.proxy.intercept)
    assert "api.anthropic.com" in found.settings.proxy.api_hosts
    assert found.descriptors == [7, 8, 9]
    assert through_a_pipe(found.to_bytes()) is not None


def test_one_whose_sender_died_over_it_is_none(tmp_path: Path) -> None:
    data = order(tmp_path).to_bytes()
    assert through_a_pipe(b"") is None
    assert through_a_pipe(data[:3]) is None
    assert through_a_pipe(data[:-1]) is None
