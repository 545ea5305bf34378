"""`ClaudeProxyConfig`: the configuration as the product uses it, made from file, environment and flags.

The keys themselves are in `keys` and `limits`. Where values come from is the work of `sources`.
"""

# No `from __future__ import annotations`: pydantic reads these annotations when the class is made.

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from claudeproxy.config.home import Home, find_home
from claudeproxy.config.limits import Limits
from claudeproxy.config.sources import FileSource, alone, collect, explain, file_values, pending_origins
from claudeproxy.config.values import Address, mask_url, parse_address
from claudeproxy.errors import ConfigError


class ClaudeProxyConfig(Limits):
    """The effective configuration, immutable. Make one with `load`.

    Raises ConfigError from `load`: an unknown key (with the nearest known one), a value that cannot be used (with the
    key, where it came from and what to write instead), or a file that cannot be read.
    """

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
        if not self.bind.is_loopback and self.proxy_auth is None:
            raise ValueError(
                f"bind_address {self.bind_address} can be reached from other machines, whose users could send requests "
                "through this one and have them recorded as yours: set proxy_auth, or listen on 127.0.0.1"
            )
        if self.bind.port and self.bind == self.api:
            raise ValueError(f"bind_address and api_address are both {self.bind_address}: give them two ports")
        if self.workers > self.max_connections:
            raise ValueError(f"workers is {self.workers} and max_connections {self.max_connections}: each needs one")
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
