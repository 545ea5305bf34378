"""What the configuration says reaches the parts that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.translating import proxy_settings, recording_settings, relay_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_bounds_of_a_websocket_reach_the_recorder(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.isolated(
        home=tmp_path, max_websocket_messages=7, max_message_bytes=2048, max_decoded_bytes=1 << 20
    )
    settings = recording_settings(config)
    assert (settings.max_websocket_messages, settings.max_message_bytes) == (7, 2048)
    assert settings.max_decoded_bytes == 1 << 20
    assert type(settings).from_json(settings.to_json()).max_message_bytes == 2048


def test_the_bounds_of_connections_and_heads_reach_the_relay(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.isolated(
        home=tmp_path, max_connections=9, max_connections_per_client=8, max_header_fields=21, head_timeout=2.5
    )
    settings = proxy_settings(config)
    assert (settings.max_connections, settings.max_connections_per_client) == (9, 8)
    assert (settings.max_header_fields, settings.head_timeout) == (21, 2.5)


def test_what_one_relay_may_take_is_divided_among_several(tmp_path: Path) -> None:
    bounds = {"max_connections": 10, "max_connections_per_client": 2, "journal_max_bytes": 64 << 20}
    whole = relay_settings(ClaudeProxyConfig.isolated(home=tmp_path, **bounds))
    share = whole.share(3)
    assert (share.proxy.max_connections, share.proxy.max_connections_per_client) == (3, 1)
    assert share.journal_max_bytes == (64 << 20) // 3
    assert whole.share(1) == whole
    assert not relay_settings(ClaudeProxyConfig.isolated(home=tmp_path, enabled=False)).capture
