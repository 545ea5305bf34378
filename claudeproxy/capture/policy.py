"""Whose bodies are kept: those of the API; others on request only; those of authentication endpoints never.

Apart so that the rule can be read in one look. It decides by the path alone, before the first body byte reaches the
journal: a body that must not be kept is counted and otherwise forgotten. Size limits are the tap's business.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

# Deny wins, by whole path segment: /v1/messages/count_tokens is not an authentication endpoint.
AUTHENTICATION_SEGMENTS = frozenset(
    {"oauth", "oauth2", "login", "logout", "auth", "authorize", "sso", "saml", "password", "magic_link", "credentials"}
    | {"token", "introspect", "revoke", "device_authorization", "api_keys", "api-keys", "create_api_key"}
)

_SEPARATORS = re.compile(r"[/\\;]")


class BodyPolicy:
    """`capture_other_bodies` adds telemetry, feature flags, settings and all other paths to ``/v1/*``."""

    def __init__(self, *, capture_other_bodies: bool = False) -> None:
        self._others = capture_other_bodies

    def keep(self, url: str) -> bool:
        """Whether bodies of an exchange with this absolute URL may be kept. What is no URL is kept nowhere."""
        try:
            path = urlsplit(url).path
        except ValueError:
            return False
        # As a server might read it: escapes resolved (twice, for those who do it twice), any case.
        segments = {segment.strip().lower() for segment in _SEPARATORS.split(unquote(unquote(path)))}
        if segments & AUTHENTICATION_SEGMENTS:
            return False
        return self._others or path.startswith("/v1/")
