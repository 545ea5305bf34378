"""`ClaudeProxyConfig`: every key, its default, and why the default is what it is.

The descriptions are the reference: ``claudeproxy config show``, the documentation and the example file follow them.
Where values come from is the work of `sources`, how they are written that of `values`.
"""

# No `from __future__ import annotations`: pydantic reads these annotations when the class is made.

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from claudeproxy.config.fields import (
    AddressMap,
    AddressText,
    Dollars,
    FilePath,
    FilePaths,
    Hosts,
    Prices,
    ProxyURL,
    Size,
    UpstreamURL,
    UserAndPassword,
)
from claudeproxy.config.home import Home, find_home
from claudeproxy.config.sources import FileSource, alone, collect, explain, file_values, pending_origins
from claudeproxy.config.values import Address, mask_url, parse_address
from claudeproxy.errors import ConfigError


class ClaudeProxyConfig(BaseSettings):
    """The effective configuration, immutable. Make one with `load`.

    Raises ConfigError from `load`: an unknown key (with the nearest known one), a value that cannot be used (with the
    key, where it came from and what to write instead), or a file that cannot be read.
    """

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
        None, min_length=16, description="Bearer token of the REST API. None: on loopback, Host and Origin are checked."
    )
    accepted_hosts: Hosts = Field(
        (),
        description="Further names under which browsers and clients may address us, beside localhost and loopback IPs.",
    )
    proxy_auth: UserAndPassword | None = Field(
        None, description="USER:PASSWORD that clients of the proxy must give. None: nobody but this machine reaches it."
    )
    capture_enabled: bool = Field(True, description="false: traffic is passed on as ever, and nothing is stored.")
    capture_other_bodies: bool = Field(
        False,
        description="true: keep bodies of telemetry, settings and other paths beside /v1/ too. "
        "Off: they are not context, and may tell more about a person than is wanted. Authentication is never kept.",
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
    max_body_bytes: Size = Field(
        64 << 20,
        ge=1 << 10,
        description="Larger bodies are forwarded whole and recorded by length and SHA-256. "
        "64MiB: twice what the API takes.",
    )
    journal_max_bytes: Size = Field(
        1 << 30,
        ge=64 << 20,
        description="Room for what is not stored yet. When it is full, exchanges are dropped and counted. "
        "1GiB: hours without a recorder.",
    )
    max_head_bytes: Size = Field(
        64 << 10,
        ge=8 << 10,
        le=1 << 20,
        description="Largest head of a request or response. 64KiB: four times what servers take; beyond it 431.",
    )
    max_connections: int = Field(
        1000, ge=1, description="Clients at a time; further ones wait. Two file descriptors each; systems give 1,024."
    )
    connect_timeout: float = Field(
        10.0, gt=0, description="Seconds for name, TCP and TLS to the upstream. 10: clients give up after as long."
    )
    handshake_timeout: float = Field(
        15.0, gt=0, description="Seconds a client has for its TLS handshake. 15: a busy machine starts clients slowly."
    )
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds a client's connection may lie unused between requests. 300: longer than clients keep "
        "theirs, so that it is they who close. Never applied while an answer is awaited or streams.",
    )
    drain_seconds: float = Field(
        10.0,
        ge=0,
        description="Seconds that running exchanges may take to end after Ctrl-C or TERM; what `docker stop` allows.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="console for people, json for machines; auto: console when standard error is a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )

    secret_keys: ClassVar[frozenset[str]] = frozenset({"api_token", "proxy_auth", "upstream_proxy"})
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:  # Any: BaseSettings' own arguments and every key's type
        """Make one from values and the environment, without a file. Raises ConfigError."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            origins = dict.fromkeys(values, "flag") | (pending_origins.get() or {})
            raise ConfigError(explain(error, origins, _defaults())) from None  # the cause would show the input

    @classmethod
    def load(cls, home: Path | None = None, config_file: Path | None = None, **flags: object) -> Self:
        """File < environment < flags. A flag that is None was not given.

        `config_file` (else CLAUDEPROXY_CONFIG) must exist when given; otherwise ``config.yaml`` in home is read when
        it is there. Raises ConfigError for everything that cannot be used.
        """
        place = find_home(home)
        given = {key: value for key, value in flags.items() if value is not None}
        from_file, origins = collect(cls.model_fields.keys(), place, config_file, given)
        if home is not None:
            origins["home"] = "flag"
        file_token, origins_token = file_values.set(from_file), pending_origins.set(origins)
        try:
            config = cls(**given, home=place.path)
        finally:
            file_values.reset(file_token)
            pending_origins.reset(origins_token)
        config._origins.update(origins)
        return config

    @classmethod
    def isolated(cls, **values: object) -> Self:
        """From `values` and the defaults alone: no file and no environment. For tests, demonstrations and programs
        that keep their configuration elsewhere. Raises ConfigError."""
        token = alone.set(True)
        try:
            return cls(**values)
        finally:
            alone.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before environment before file; no dotenv, which would read a project's file as ours."""
        if alone.get():
            return (init_settings,)
        return init_settings, env_settings, FileSource(settings_cls)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.api.is_loopback and self.api_token is None:
            raise ValueError(
                f"api_address {self.api_address} can be reached from other machines: "
                "set api_token, or listen on 127.0.0.1"
            )
        if self.bind.port and self.bind == self.api:
            raise ValueError(f"bind_address and api_address are both {self.bind_address}: give them two ports")
        return self

    @property
    def paths(self) -> Home:
        """Every other path in home."""
        return Home(path=self.home)

    @property
    def database_path(self) -> Path:
        """The captures."""
        return self.paths.database

    @property
    def journal_path(self) -> Path:
        """The journal's directory."""
        return self.paths.journal

    @property
    def secret_path(self) -> Path:
        """The key of the API keys' hash."""
        return self.paths.secret

    @property
    def bind(self) -> Address:
        """`bind_address`, taken apart."""
        return parse_address(self.bind_address)

    @property
    def api(self) -> Address:
        """`api_address`, taken apart."""
        return parse_address(self.api_address)

    def origin(self, key: str) -> str:
        """Where the value of a key came from: ``default``, ``file PATH``, ``env NAME`` or ``flag``."""
        return self._origins.get(key, "default")

    def shown(self, key: str) -> object:
        """The value of a key for people and JSON: secrets masked, paths as text, lists as lists."""
        value = getattr(self, key)
        if isinstance(value, SecretStr):
            return mask_url(value.get_secret_value()) if key == "upstream_proxy" else "****"
        if isinstance(value, tuple):
            return [item if isinstance(item, dict) else str(item) for item in value]
        return str(value) if isinstance(value, Path) else value


def _defaults() -> dict[str, str]:
    """Key to its default as text, for error messages."""
    return {key: str(field.default) for key, field in ClaudeProxyConfig.model_fields.items()}
