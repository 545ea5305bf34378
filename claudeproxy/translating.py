"""The configuration as the parts want it: what the relay is told, what the recorder is told.

Apart from `service`, which builds the parts, because this is a translation key by key: packages know values of their
own and no configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.proxy.settings import ProxySettings, parse_upstream, parse_upstream_proxy
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.relaysettings import RelaySettings
from claudeproxy.sansio.target import HostSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.config import ClaudeProxyConfig


def proxy_settings(config: ClaudeProxyConfig) -> ProxySettings:
    """What the relay needs of the configuration. Raises ConfigError."""
    secret = config.proxy_auth.get_secret_value() if config.proxy_auth else None
    way_out = config.upstream_proxy.get_secret_value() if config.upstream_proxy else None
    return ProxySettings(
        bind_host=config.bind.host,
        bind_port=config.bind.port,
        decrypt=config.enabled,
        intercept=HostSet(config.intercept_hosts),
        api_hosts=HostSet(config.api_hosts),
        upstream=parse_upstream(config.upstream) if config.upstream else None,
        upstream_addresses=dict(config.upstream_addresses),
        upstream_proxy=parse_upstream_proxy(way_out) if way_out else None,
        accepted_hosts=frozenset(config.accepted_hosts),
        proxy_auth=secret,
        connect_timeout=config.connect_timeout,
        handshake_timeout=config.handshake_timeout,
        idle_timeout=config.idle_timeout,
        drain_seconds=config.drain_seconds,
        max_head_bytes=config.max_head_bytes,
        max_header_fields=config.max_header_fields,
        max_connections=config.max_connections,
        max_connections_per_client=config.max_connections_per_client,
        head_timeout=config.head_timeout,
    )


def relay_settings(config: ClaudeProxyConfig) -> RelaySettings:
    """What a process that relays needs of the configuration: all of it, `RelaySettings.share` divides. ConfigError."""
    return RelaySettings(
        proxy=proxy_settings(config),
        ca_cert=config.ca_cert_path,
        ca_key=config.ca_key_path,
        intercept_hosts=config.intercept_hosts,
        upstream_ca=config.upstream_ca,
        capture=config.enabled and config.capture_enabled,
        capture_other_bodies=config.capture_other_bodies,
        max_body_bytes=config.max_body_bytes,
        journal=config.journal_path,
        journal_max_bytes=config.journal_max_bytes,
        pause_file=config.paths.pause_file,
        secret=config.secret_path,
        secrets=config.secrets,
        secret_rules=[str(path) for path in config.secret_rules],
        calibrate=config.calibrate,
        log_format=config.log_format,
        log_level=config.log_level,
    )


def recording_settings(
    config: ClaudeProxyConfig, fingerprints: Mapping[str, Sequence[str]] | None = None
) -> RecordingSettings:
    """What the recorder, and whoever explains captures as it does, needs of the configuration."""
    return RecordingSettings(
        database=str(config.database_path),
        journal=str(config.journal_path),
        log_format=config.log_format,
        log_level=config.log_level,
        rules_file=str(config.paths.rules_file),
        rules_files=[str(path) for path in config.rules_files],
        transcripts=str(config.transcripts) if config.transcripts else None,
        fingerprints=fingerprints or {},
        exclude_projects=[str(path) for path in config.exclude_projects],
        excluded_sessions=str(config.paths.excluded_sessions),
        quarantine=str(config.paths.quarantine),
        secrets=config.secrets,
        secret_rules=[str(path) for path in config.secret_rules],
        secret_path=str(config.secret_path),
        prices=config.prices,
        alert_session_cost=int(config.alert_session_cost * 10**12) if config.alert_session_cost else None,
        max_websocket_messages=config.max_websocket_messages,
        max_message_bytes=config.max_message_bytes,
        max_decoded_bytes=config.max_decoded_bytes,
    )
