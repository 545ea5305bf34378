"""The one choke point for secrets: nothing of a head reaches the journal but through these functions.

Apart so that one page of code and one test file decide what a secret is. Headers are judged by name (and, as a second
net, by the look of their value), URLs by their user information and the names of their parameters. What is taken out
becomes ``[REDACTED]``; of an API key a keyed hash is kept, so that requests can be told apart by key without the key.
Bodies are not redacted here: `policy` decides which of them are kept at all.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders

REDACTED = "[REDACTED]"

# Names that say what they carry. `tokens` in the plural counts (anthropic-ratelimit-tokens-remaining), a session id
# identifies a conversation, www-authenticate is a question: those stay.
_SECRET_NAME = re.compile(
    r"""authori[sz]ation | cookie | passw(?:or)?d | passphrase | secret | credential
      | api[-_.]?key | (?:access|subscription|private|signing|shared|account|auth)[-_.]?key
      | token (?! s | [-_.]? (?: count | limit | type | budget ) )
      | (?:^|[-_.\[]) (?: auth | jwt | otp | pin | pwd | sig | signature | saml(?:response|request)? ) (?:$|[-_.\]])""",
    re.VERBOSE | re.IGNORECASE,
)
# Parameters of a URL that are secret there and harmless words in a header's name.
_SECRET_PARAMETER = re.compile(
    r"(?:^|[-_.\[])(?:code|code_verifier|state|nonce|key|assertion|ticket)(?:$|\])", re.IGNORECASE
)

# Second net: Anthropic's own keys (sk-ant-api03-, sk-ant-oat01-, ...) anywhere, a credential under an unknown name.
_SECRET_TEXT = re.compile(r"sk-ant-[A-Za-z0-9_\-%]+")
_CREDENTIAL = re.compile(rb"\s*(?:bearer|basic|digest|negotiate|token)\s+\S", re.IGNORECASE)

_CHALLENGES = frozenset({b"www-authenticate", b"proxy-authenticate"})

_URL_HEADERS = frozenset({b"location", b"content-location", b"referer", b"origin", b"refresh", b"link", b"uri"})
# No character can belong to two repetitions: a long value would else keep the relay busy for seconds.
_USER_INFO = re.compile(r"(?<=://)[^/?#@\s]*@|^[^/?#@\s:]+:[^/?#@\s]*@")
_PARAMETER = re.compile(r"(?P<lead>[?&;#])(?P<name>[^=&;#?\s]+)=(?P<value>[^&;#\s]+)")

_API_KEY_HEADERS = (b"x-api-key", b"authorization")


@lru_cache(maxsize=1024)
def is_secret_header(name: bytes) -> bool:
    """Whether a header of this name, in any case, carries a credential."""
    return _SECRET_NAME.search(name.decode("latin-1")) is not None


def redact_headers(headers: RawHeaders) -> RawHeaders:
    """The same fields in the same order and casing, secret values replaced."""
    return tuple((name, _value(name, value)) for name, value in headers)


def _value(name: bytes, value: bytes) -> bytes:
    lower = name.lower()
    if is_secret_header(lower) or (lower not in _CHALLENGES and _CREDENTIAL.match(value)):
        return REDACTED.encode()
    if lower in _URL_HEADERS:
        return redact_url(value.decode("latin-1")).encode("latin-1")
    if b"sk-ant-" in value:
        return _SECRET_TEXT.sub(REDACTED, value.decode("latin-1")).encode("latin-1")
    return value


def redact_url(url: str) -> str:
    """The URL without user information and without the values of secret parameters; otherwise unchanged."""
    if "@" in url:
        url = _USER_INFO.sub(f"{REDACTED}@", url, count=1)
    if "=" in url:
        url = _PARAMETER.sub(_parameter, url)
    return redact_text(url)


def _parameter(match: re.Match[str]) -> str:
    name = unquote(match["name"])
    if _SECRET_NAME.search(name) or _SECRET_PARAMETER.search(name):
        return f"{match['lead']}{match['name']}={REDACTED}"
    return match[0]


def redact_text(text: str) -> str:
    """Free text (an error, a reason phrase) as valid Unicode, without anything that looks like a key of the API."""
    return _SECRET_TEXT.sub(REDACTED, text).encode("utf-8", "replace").decode("utf-8")


class KeyHasher:
    """Keyed BLAKE2b of the API key: the same key gives the same 32 hex digits, in whichever header it came.

    `secret` (16 to 64 bytes) belongs to one installation, so that a hash says nothing to anyone else, not even
    whether two people share a key.
    """

    def __init__(self, secret: bytes) -> None:
        if not 16 <= len(secret) <= 64:
            raise ValueError("the installation secret must have 16 to 64 bytes")
        self._secret = secret

    def __call__(self, headers: RawHeaders) -> str | None:
        """Hash of the key in ``x-api-key`` or ``Authorization: Bearer``; None without one."""
        for wanted in _API_KEY_HEADERS:
            for name, value in headers:
                if name.lower() == wanted and (key := _bare_key(wanted, value)):
                    return blake2b(key, key=self._secret, digest_size=16, person=b"claudeproxy-key").hexdigest()
        return None


def _bare_key(name: bytes, value: bytes) -> bytes:
    if name == b"x-api-key":
        return value.strip()
    scheme, _, credentials = value.strip().partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else b""
