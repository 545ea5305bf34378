"""The three layers of the configuration, and which of them each value came from.

Apart from the keys: this file knows how a value is found and how a mistake is told, not what any key means.
"""

from __future__ import annotations

import difflib
import os
import re
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic_settings import BaseSettings, InitSettingsSource

from claudeproxy.config.home import HOME_VARIABLE
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import ValidationError

    from claudeproxy.config.home import Home

SECTION: Final = "claude_proxy"
PREFIX: Final = "CLAUDEPROXY_"
CONFIG_VARIABLE: Final = "CLAUDEPROXY_CONFIG"
DERIVED: Final = frozenset({"ca_cert_path", "ca_key_path"})
# Kubernetes gives every container such variables for a service named "claudeproxy"; they are not meant for us.
_FOREIGN: Final = re.compile(r"(?:SERVICE_(?:HOST|PORT)|PORT)(?:_\w+)?")

# What the file says, for the one construction in progress: pydantic-settings makes its sources itself.
file_values: ContextVar[Mapping[str, object] | None] = ContextVar("file_values", default=None)
# Where the values of that construction come from, for its error messages.
pending_origins: ContextVar[dict[str, str] | None] = ContextVar("pending_origins", default=None)
# Set while a configuration is made of values and defaults only.
alone: ContextVar[bool] = ContextVar("alone", default=False)


class FileSource(InitSettingsSource):
    """The lowest layer: what `read_file` found."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, init_kwargs=dict(file_values.get() or {}))


def collect(
    known: Collection[str], home: Home, config_file: Path | None, flags: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, str]]:
    """What the file says, and for every key that is set anywhere where its value comes from.

    The file is `config_file`, else what CLAUDEPROXY_CONFIG names, else the home's, which need not exist.
    """
    variable = os.environ.get(CONFIG_VARIABLE)
    named = config_file or (Path(variable) if variable else None)
    path = named.expanduser().absolute() if named else home.config_file
    from_environment = environment_keys(known)
    from_file = read_file(path, known) if named or path.exists() else {}
    origins = dict.fromkeys(from_file, f"file {path}")
    origins |= {key: f"env {name}" for key, name in from_environment.items()}
    origins |= dict.fromkeys(flags, "flag")
    return from_file, origins


def read_file(path: Path, known: Collection[str]) -> dict[str, object]:
    """The keys of a YAML file, whether they stand at the top or under ``claude_proxy:``.

    Raises ConfigError when it cannot be read, is not a mapping, says a key twice, or has a key that is not known.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place is not None else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise ConfigError(f"{path}{line}: {problem}") from error
    top = _mapping(document, path)
    section = _mapping(top.pop(SECTION, None), path)
    if twice := sorted(top.keys() & section.keys()):
        raise ConfigError(f"{path}: {twice[0]} stands both at the top and under {SECTION}: keep one")
    # null for a key whose default depends on others means that default.
    values = {k: v for k, v in {**top, **section}.items() if not (v is None and k in DERIVED)}
    for key in values:
        if key == "home":
            raise ConfigError(
                f"{path}: home cannot be set in a file that is found there: use --home or {HOME_VARIABLE}"
            )
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r}{nearest(key, known)}")
    return values


def _mapping(document: object, path: Path) -> dict[str, object]:
    if document is None:  # an empty file, or one of comments only
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError(f"{path}: write keys and values, such as `bind_address: 127.0.0.1:8443`")
    return document


def environment_keys(known: Collection[str]) -> dict[str, str]:
    """Key to variable name of what the environment sets. Raises ConfigError for a variable that names no key."""
    found = {}
    for variable, value in os.environ.items():
        name = variable.upper()
        key = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not value or name == CONFIG_VARIABLE or _FOREIGN.fullmatch(key):
            continue
        if key.lower() not in known:
            raise ConfigError(f"unknown variable {variable}{nearest(key.lower(), known, prefix=PREFIX)}")
        found[key.lower()] = variable
    return found


def nearest(key: str, known: Collection[str], *, prefix: str = "") -> str:
    """``: did you mean KEY?``, or where the list is."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not close:
        return ": `claudeproxy config show` lists the known ones"
    return f": did you mean {(prefix + close[0]).upper() if prefix else close[0]}?"


def explain(error: ValidationError, origins: Mapping[str, str], examples: Mapping[str, str]) -> str:
    """One line a mistake: the key, where the value came from, what is wrong, what to write. Never the value itself,
    which may be a secret."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        if problem["type"] == "default_factory_not_called":  # a consequence of another line
            continue
        key = str(problem["loc"][0]) if problem["loc"] else ""
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = f"unknown key{nearest(key, examples)}"
        elif problem["type"] != "value_error" and key in examples:
            text = f"{text[:1].lower()}{text[1:]}; the default is {examples[key]}"
        place = f"{key} ({origins[key]})" if key in origins else key
        lines.append(f"{place}: {text}" if place else text)
    return "\n".join(dict.fromkeys(lines))
