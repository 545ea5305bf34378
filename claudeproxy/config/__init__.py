"""The configuration: a YAML file, overridden by ``CLAUDEPROXY_*`` in the environment, overridden by flags.

``home``
    where things are on disk: needs no configuration, so read-only commands import nothing else
``keys``
    `ClaudeProxyConfig`: every key with its default and the reason for it
``fields``
    the types of the keys
``sources``
    the three layers, and which of them each value came from
``values``
    addresses, sizes and lists as people write them

`ClaudeProxyConfig` is resolved on first use (PEP 562): pydantic-settings alone takes longer to import than
``claudeproxy query`` may take to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.config.home import Home, find_home

if TYPE_CHECKING:
    from claudeproxy.config.effective import ClaudeProxyConfig

__all__ = ["ClaudeProxyConfig", "Home", "find_home"]


def __getattr__(name: str) -> object:
    if name == "ClaudeProxyConfig":
        from claudeproxy.config.effective import ClaudeProxyConfig

        globals()[name] = ClaudeProxyConfig
        return ClaudeProxyConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
