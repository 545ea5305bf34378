"""The combined certificate bundle: the system's CAs, whatever the caller trusted already, and ours, in one file.

SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and GIT_SSL_CAINFO replace a client's trust store, they do not add to
it: a file with only our CA would cut the child off from every other host. NODE_EXTRA_CA_CERTS adds, but takes one file
only, so a caller's own certificates (a company's) go in beside ours there too.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudeproxy.private import replace_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----")

# Where systems keep all their CAs in one file. OpenSSL's compiled-in default comes first, but a Python from uv or
# pyenv may have been built with a path that exists nowhere.
SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # newer Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

# Variables by which the caller may trust more than the system does.
TRUST_VARIABLES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
)


def certificates(pem: bytes) -> list[bytes]:
    """The certificates in a PEM text, without the comments that distributions put between them."""
    return _PEM.findall(pem)


def system_certificates() -> list[bytes]:
    """What the system trusts, from its bundle file, else from its store (Windows), else certifi's copy of Mozilla's."""
    default = ssl.get_default_verify_paths().openssl_cafile
    for path in (default, *SYSTEM_BUNDLES):
        if found := _read(Path(path)):
            return found
    stored = ssl.create_default_context().get_ca_certs(binary_form=True)
    if stored:
        return [_pem(der) for der in stored]
    try:
        import certifi
    except ImportError:
        return []
    return _read(Path(certifi.where()))


def contains(store: Iterable[bytes], certificate: bytes) -> bool:
    """Whether a store holds a certificate, whichever way its lines are wrapped."""
    return _key(certificate) in map(_key, store)


def caller_certificates(environment: Mapping[str, str], *, ours: Iterable[bytes]) -> list[bytes]:
    """What the caller's own variables add, our own (of an outer `run`) left out."""
    known = set(map(_key, ours))
    found = []
    for name in TRUST_VARIABLES:
        if value := environment.get(name):
            found += [certificate for certificate in _read(Path(value)) if _key(certificate) not in known]
    return found


def write_bundle(path: Path, groups: Iterable[Iterable[bytes]], *, variant: Iterable[bytes] = ()) -> Path:
    """Write each certificate once; the path that was written.

    With `variant` (a caller's own certificates) the name carries a hash of them, so that two callers who trust
    different companies do not overwrite each other's file while a client reads it.
    """
    chosen: dict[bytes, bytes] = {}
    for certificate in (certificate for group in groups for certificate in group):
        chosen.setdefault(_key(certificate), certificate)
    if keys := sorted({_key(certificate) for certificate in variant}):
        path = path.with_stem(f"{path.stem}-{hashlib.sha256(b''.join(keys)).hexdigest()[:12]}")
    replace_private(path, b"\n".join(chosen.values()) + b"\n")
    return path


def _key(certificate: bytes) -> bytes:
    """A certificate's identity: its base64 without line breaks, which tools wrap differently."""
    return hashlib.sha256(b"".join(certificate.split())).digest()


def _pem(der: bytes) -> bytes:
    body = textwrap.fill(base64.b64encode(der).decode(), 64)
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----".encode()


def _read(path: Path) -> list[bytes]:
    try:
        return certificates(path.read_bytes())
    except OSError:
        return []
