"""The one choke point for secrets: nothing of a head reaches the journal but through these functions.

Apart so that one page of code and one test file decide what a secret is. Headers are judged by name (and, as a second
net, by the look of their value), URLs by their user information and the names of their parameters. What is taken out
becomes ``[REDACTED]``; of an API key a keyed hash is kept, so that requests can be told apart by key without the key.
Bodies are not redacted here: `policy` decides which of them are kept at all, `finder` masks in those that are.
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
    r"""authori[sz]ation | authentication | cookie | passw(?:or)?d | passphrase | secret | credential | dpop
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
# In a URL their hyphens may be escaped.
_SECRET_TEXT = re.compile(r"sk(?:-|%2d)ant(?:-|%2d)[a-z0-9_\-%]+", re.IGNORECASE | re.ASCII)
_CREDENTIAL = re.compile(
    rb"\s*(?:bearer|basic|digest|negotiate|ntlm|token|oauth|dpop|hawk|api-?key|aws4-hmac-sha256|scram-sha-\d+)\s+\S",
    re.IGNORECASE,
)

_CHALLENGES = frozenset({b"www-authenticate", b"proxy-authenticate"})

_URL_HEADERS = frozenset({b"location", b"content-location", b"referer", b"origin", b"refresh", b"link", b"uri"})
# Where browsers, which may set no other field of a handshake, put credentials: `bearer.TOKEN`, or the token alone.
_SUBPROTOCOLS = b"sec-websocket-protocol"
_LONGEST_SUBPROTOCOL = 32  # registered names have up to 28 characters, tokens more
# No character can belong to two repetitions: a long value would else keep the relay busy for seconds.
_USER_INFO = re.compile(r"(?<=://)[^/?#@\s]*@|^[^/?#@\s:]+:[^/?#@\s]*@")
_PARAMETER = re.compile(r"(?P<lead>[?&;#])(?P<name>[^=&;#?\s]+)=(?P<value>[^&;#\s]+)")

_LONGEST_NAME = 8  # of a header, that cannot hold a key

_API_KEY_HEADERS = (b"x-api-key", b"authorization")


@lru_cache(maxsize=1024)
def is_secret_header(name: bytes) -> bool:
    """Whether a header of this name, in any case, carries a credential."""
    return _SECRET_NAME.search(name.decode("latin-1")) is not None


# Fields that passed unchanged and so went to the journal, and their text; most of them come again with every request.
_harmless: dict[tuple[bytes, bytes], tuple[str, str]] = {}
_MAX_HARMLESS = 1024
_LONGEST_HARMLESS = 128  # bytes of a field


def redact_headers(headers: RawHeaders) -> RawHeaders:
    """The same fields in the same order and casing, secret values replaced."""
    return tuple(field if field in _harmless else _redacted(field) for field in headers)


def redacted_text(headers: RawHeaders) -> list[tuple[str, str]]:
    """What `redact_headers` gives, as Latin-1 text."""
    return [_harmless.get(field) or _text(_redacted(field)) for field in headers]


def _text(field: tuple[bytes, bytes]) -> tuple[str, str]:
    return field[0].decode("latin-1"), field[1].decode("latin-1")


def _redacted(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field
    redacted = (_name(name), _value(name, value))
    if redacted == field and len(name) + len(value) <= _LONGEST_HARMLESS:
        if len(_harmless) >= _MAX_HARMLESS:
            _harmless.clear()
        _harmless[field] = _text(field)
    return redacted


def _name(name: bytes) -> bytes:
    return redact_text(name.decode("latin-1")).encode("latin-1") if len(name) > _LONGEST_NAME else name


def _value(name: bytes, value: bytes) -> bytes:
    lower = name.lower()
    if is_secret_header(lower) or (lower not in _CHALLENGES and _CREDENTIAL.match(value)):
        return REDACTED.encode()
    if lower == _SUBPROTOCOLS:
        return b",".join(map(_subprotocol, value.split(b",")))
    if lower in _URL_HEADERS or b"://" in value or value.startswith(b"/"):
        return redact_url(value.decode("latin-1")).encode("latin-1")
    return _SECRET_TEXT.sub(REDACTED, value.decode("latin-1")).encode("latin-1")


def _subprotocol(item: bytes) -> bytes:
    name = item.strip()
    if len(name) <= _LONGEST_SUBPROTOCOL and not re.search(rb"bearer|auth|token|key", name, re.IGNORECASE):
        return item
    return item.replace(name, REDACTED.encode())


def redact_url(url: str) -> str:
    """The URL without user information and without the values of secret parameters; otherwise unchanged."""
    if "@" in url:
        url = _USER_INFO.sub(f"{REDACTED}@", url)
    if "=" in url:
        url = _PARAMETER.sub(_parameter, url)
    return redact_text(url)


def _parameter(match: re.Match[str]) -> str:
    return f"{match['lead']}{match['name']}={REDACTED}" if _is_secret_parameter(match["name"]) else match[0]


@lru_cache(maxsize=64)  # a name may be as long as a head
def _is_secret_parameter(name: str) -> bool:
    name = unquote(unquote(name))  # twice, for servers that do it twice
    return bool(_SECRET_NAME.search(name) or _SECRET_PARAMETER.search(name))


def redact_text(text: str) -> str:
    """Free text as valid Unicode, without anything that looks like a key of the API."""
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
