"""Every key but the bounds, its default, and why the default is what it is.

The descriptions are the reference: ``claudeproxy config show``, the documentation and the example file follow them.
Bounds on what peers may take (sizes, numbers, seconds) are in `limits`, the configuration as a whole in `effective`.
Where values come from is the work of `sources`, how they are written that of `values`.
"""

# No `from __future__ import annotations`: pydantic reads these annotations when the class is made.

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from claudeproxy.config.fields import (
    AddressMap,
    AddressText,
    Dollars,
    FilePath,
    FilePaths,
    Hosts,
    Prices,
    ProxyURL,
    SecretsMode,
    Size,
    UpstreamURL,
    UserAndPassword,
)
from claudeproxy.config.home import find_home


class Keys(BaseSettings):
    """What is proxied, captured, kept and said."""

    model_config = SettingsConfigDict(
        env_prefix="CLAUDEPROXY_",
        env_ignore_empty=True,  # CLAUDEPROXY_UPSTREAM= takes the variable back, as shells cannot unset inline
        enable_decoding=False,  # lists are written a,b in a variable; `values` reads JSON too
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # an invalid secret must not be printed
        validate_default=False,
    )

    home: FilePath = Field(
        default_factory=lambda: find_home().path,
        description="Directory of CA, database, journal and this configuration. Only by --home or CLAUDEPROXY_HOME.",
    )
    enabled: bool = Field(
        True, description="false: nothing is decrypted or recorded, everything is passed on; a switch for doubts."
    )
    bind_address: AddressText = Field(
        "127.0.0.1:8443",
        description="Where the proxy listens, HOST:PORT. Loopback, because whoever reaches it can use it as a proxy.",
    )
    api_address: AddressText = Field(
        "127.0.0.1:3001",
        description="Where the REST API listens. Loopback, because captures are whole conversations; "
        "beyond it api_token is required.",
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token of the REST API, asked for wherever it is set: on loopback too, which other users of "
        "this machine can reach. None: on loopback, Host and Origin are checked.",
    )
    accepted_hosts: Hosts = Field(
        (),
        description="Further names under which browsers and clients may address us, beside localhost and loopback IPs.",
    )
    proxy_auth: UserAndPassword | None = Field(
        None,
        description="USER:PASSWORD that clients of the proxy must give; required beyond loopback, where others could "
        "use it and be recorded as you. None: nobody but this machine reaches it.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that relay, behind one address (`serve` only). 1: carries what a person's clients send; "
        "more where there are cores for many clients. Bounds on connections and journal are divided among them.",
    )
    capture_enabled: bool = Field(True, description="false: traffic is passed on as ever, and nothing is stored.")
    capture_other_bodies: bool = Field(
        False,
        description="true: keep bodies of telemetry, settings and other paths beside /v1/ too. "
        "Off: they are not context, and may tell more about a person than is wanted. Authentication is never kept.",
    )
    secrets: SecretsMode = Field(
        "off",
        description="What is done about API keys, tokens and private keys in bodies: report (stored as they came, "
        "counted in `claudeproxy secrets`) or redact (masked before the journal). off: it costs time on every byte, "
        "and a masked record is no longer byte for byte. Heads and URLs are always redacted.",
    )
    secret_rules: FilePaths = Field(
        (), description="Your own kinds of secrets: YAML files or directories of them, see docs/reference/secrets.md."
    )
    exclude_projects: FilePaths = Field(
        (),
        description="Directories whose sessions, and those of directories below them, are not stored at all.",
    )
    rules_files: FilePaths = Field(
        (), description="Your own attribution rules: YAML files or directories of them, after rules.yaml in home."
    )
    transcripts: FilePath | None = Field(
        None, description="Where the client keeps its transcripts (~/.claude/projects), to name what rules do not know."
    )
    intercept_hosts: Hosts = Field(
        ("anthropic.com", "claude.ai", "claude.com"),
        min_length=1,
        description="Hosts that are decrypted and recorded, with their subdomains: the vendor's three domains. "
        "All else is tunnelled unread.",
    )
    api_hosts: Hosts = Field(
        ("api.anthropic.com",), min_length=1, description="Hosts whose traffic `upstream` sends elsewhere: the API's."
    )
    upstream: UpstreamURL | None = Field(
        None,
        description="URL where traffic for api_hosts goes: a gateway or a test server. "
        "None: the host that the client asked for, https://api.anthropic.com in reverse mode.",
    )
    upstream_addresses: AddressMap = Field(
        {},
        description="Host to IP, as curl's --resolve. Needed when a hosts file points the API's name at this proxy.",
    )
    upstream_ca: FilePath | None = Field(
        None, description="PEM file of CAs to trust beside the system's, upstream. There is no way to trust everything."
    )
    upstream_proxy: ProxyURL | None = Field(
        None, description="http(s)://[USER:PASSWORD@]HOST:PORT of a proxy that leads to the internet (CONNECT)."
    )
    ca_cert_path: FilePath = Field(
        default_factory=lambda data: data["home"] / "ca.crt", description="The CA's certificates. Default: in home."
    )
    ca_key_path: FilePath = Field(
        default_factory=lambda data: data["home"] / "ca.key", description="The CA's key, 0600. Default: in home."
    )
    prices: Prices = Field((), description="Your own prices, before all lists: see docs/reference/tokens-and-money.md.")
    calibrate: bool = Field(
        False, description="true: for each new model and set of tools, one count_tokens call with the caller's own key."
    )
    alert_session_cost: Dollars | None = Field(
        None, description="US dollars. A session that passes them, or a multiple, is logged and in health. None: never."
    )
    retention_days: int | None = Field(
        30,
        ge=1,
        description="Days that captures are kept; applied once a day. 30: a month back answers most questions. "
        "Sums for each source and day stay. null: for ever.",
    )
    max_database_size: Size | None = Field(
        2 << 30,
        ge=16 << 20,
        description="Size beyond which the oldest captures go, once a day. 2GiB: a year of heavy use, "
        "at 1 MB a long conversation. null: no limit.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="console for people, json for machines; auto: console when standard error is a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )
