"""`CertificateAuthority`: the root that people trust once, and the intermediate that signs a leaf per host.

What is on disk, and why:

- ``ca.crt`` holds the root alone. It is what goes into `NODE_EXTRA_CA_CERTS` and trust stores, so the intermediate is
  not in it: as a trust anchor its name constraints would bind only those clients that heed an anchor's constraints.
- ``ca.key`` (0600) holds the intermediate's private key, the intermediate and the root. The root's key is dropped as
  soon as it has signed, so the constraints hold even against the thief of this file: it can impersonate the API to
  those who trust the root, and nothing else.

``ca.key`` appears in one step and wins races; ``ca.crt`` is made from it. Every handshake sends leaf and intermediate.
Who trusts the root, and how to make them, is for the command line to know.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from claudeproxy.errors import AuthorityError
from claudeproxy.tls import files, issue
from claudeproxy.tls.names import DEFAULT_NAMES, is_covered, normalize, permitted_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_ROTATE = "run `claudeproxy ca rotate` to make a new one (it must then be trusted again)"


def utc_now() -> datetime:
    """The time, aware and in UTC: the clock that certificates go by unless another one is given."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A server certificate with what a server needs to use it. `chain` is what is sent after it, the root left out."""

    host: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    not_after: datetime

    @property
    def pem(self) -> bytes:
        """Leaf and chain in PEM, as `load_cert_chain` wants them; the key is not in it."""
        return b"".join(_pem(certificate) for certificate in (self.certificate, *self.chain))


class CertificateAuthority:
    """A name-constrained authority. Made by the class methods below; never changes once made."""

    def __init__(self, root: x509.Certificate, intermediate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Put the three parts together. Raises AuthorityError when they do not belong together."""
        try:
            intermediate.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError):
            raise AuthorityError(f"the root did not sign the intermediate; {_ROTATE}") from None
        if intermediate.public_key() != key.public_key():
            raise AuthorityError(f"the key is not that of the intermediate; {_ROTATE}")
        self.root = root
        self.intermediate = intermediate
        self.names = issue.constrained_names(intermediate)
        self._key = key
        self._leaf_key = issue.new_key()  # one for all leaves of this process, never written anywhere

    def __repr__(self) -> str:
        return f"<CertificateAuthority {self.fingerprint[:16]} until {self.not_after:%Y-%m-%d} for {list(self.names)}>"

    @classmethod
    def generate_root_ca(
        cls, names: Sequence[str] = DEFAULT_NAMES, *, clock: Callable[[], datetime] = utc_now
    ) -> CertificateAuthority:
        """A new authority in memory for `names`, the default domains and the loopback names.

        Raises AuthorityError for a name that is none.
        """
        permitted, now = permitted_names(names), clock()
        root_key, key = issue.new_key(), issue.new_key()
        root = issue.issue_root(root_key, permitted, now)
        return cls(root, issue.issue_intermediate(key.public_key(), root, root_key, permitted, now), key)

    @classmethod
    def load_ca(cls, cert_path: Path, key_path: Path) -> CertificateAuthority:
        """The authority on disk, expired or not. Raises AuthorityError when it is missing or cannot be used."""
        try:
            authority = cls._from_key_file(key_path)
            root = files.read_public(cert_path)
        except FileNotFoundError as exc:
            raise AuthorityError(f"there is no certificate authority at {exc.filename}: {_ROTATE}") from None
        if _certificates(root, cert_path) != [authority.root]:
            raise AuthorityError(f"{cert_path} and {key_path} do not belong together; {_ROTATE}")
        return authority

    @classmethod
    def load_or_create_ca(
        cls,
        cert_path: Path,
        key_path: Path,
        names: Sequence[str] = DEFAULT_NAMES,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> CertificateAuthority:
        """The authority on disk, made first if there is none; safe against other processes that do the same now.

        An authority that exists is taken as it is, whatever `names` says: ask `covers` and offer a rotation. Raises
        AuthorityError, with the remedy in its text, when the files are unusable, contradict each other or have expired.
        """
        had_certificate = os.path.lexists(cert_path)  # asked first: it is always written after the key
        if not os.path.lexists(key_path):
            if had_certificate:
                raise AuthorityError(f"{cert_path} is there but its key {key_path} is not; {_ROTATE}")
            files.prepare_directory(key_path.parent)
            files.create(key_path, cls.generate_root_ca(names, clock=clock)._key_file())
        if not had_certificate:
            files.prepare_directory(cert_path.parent)
            files.create(cert_path, cls._from_key_file(key_path).root_pem)
        authority = cls.load_ca(cert_path, key_path)
        if clock() >= authority.not_after:
            raise AuthorityError(f"the certificate authority expired on {authority.not_after:%Y-%m-%d}; {_ROTATE}")
        return authority

    @classmethod
    def _from_key_file(cls, key_path: Path) -> CertificateAuthority:
        content = files.read_private(key_path)
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise AuthorityError(f"{key_path} holds no usable private key ({exc}); {_ROTATE}") from None
        certificates = _certificates(content, key_path)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or len(certificates) != 2:
            raise AuthorityError(f"{key_path} was not written by this program; {_ROTATE}")
        intermediate, root = certificates
        return cls(root, intermediate, key)

    def _key_file(self) -> bytes:
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + _pem(self.intermediate) + _pem(self.root)

    @property
    def root_pem(self) -> bytes:
        """The root in PEM: the one certificate to trust, and the whole content of ``ca.crt``."""
        return _pem(self.root)

    @property
    def bundle_pem(self) -> bytes:
        """Root and intermediate in PEM, for looking at them; to trust, take `root_pem`."""
        return _pem(self.root) + _pem(self.intermediate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root's DER form, 64 lower-case hex digits: what trust stores list it under."""
        return self.root.fingerprint(hashes.SHA256()).hex()

    @property
    def not_after(self) -> datetime:
        """The end of its validity: the earlier one of root and intermediate, in UTC."""
        return min(self.root.not_valid_after_utc, self.intermediate.not_valid_after_utc)

    def covers(self, host: str) -> bool:
        """Whether a leaf for `host`, a name or an IP address, would be accepted by clients."""
        return is_covered(host, self.names)

    def generate_domain_cert(self, domain: str, *, clock: Callable[[], datetime] = utc_now) -> Leaf:
        """A new leaf for a host name or IP address; about 0.3 ms. Raises AuthorityError when it is not covered."""
        host, now = normalize(domain), clock()
        if not self.covers(host):
            raise AuthorityError(
                f"the certificate authority does not cover {host}; add it to intercept_hosts and {_ROTATE}"
            )
        if now >= self.not_after:
            raise AuthorityError(f"the certificate authority expired on {self.not_after:%Y-%m-%d}; {_ROTATE}")
        certificate = issue.issue_leaf(host, self._leaf_key.public_key(), self.intermediate, self._key, now)
        return Leaf(
            host=host,
            certificate=certificate,
            key=self._leaf_key,
            chain=(self.intermediate,),
            not_after=certificate.not_valid_after_utc,
        )


def rotate(
    cert_path: Path,
    key_path: Path,
    names: Sequence[str] = DEFAULT_NAMES,
    *,
    clock: Callable[[], datetime] = utc_now,
) -> CertificateAuthority:
    """Replace the authority on disk, or make the first one. Every client must trust the new root again.

    A running proxy goes on with the one it loaded. Refuses, with AuthorityError, to overwrite a file that is no
    certificate authority of ours, such as a system bundle that the configuration names by mistake.
    """
    authority = CertificateAuthority.generate_root_ca(names, clock=clock)
    for path in (cert_path, key_path):
        _refuse_foreign(path)
        files.prepare_directory(path.parent)
    files.replace(key_path, authority._key_file())
    files.replace(cert_path, authority.root_pem)
    return authority


def _refuse_foreign(path: Path) -> None:
    if path.is_symlink():
        raise AuthorityError(f"{path} is a symbolic link; remove it or name its real place")
    try:
        content = files.read_public(path)
    except FileNotFoundError:
        return
    ours = x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, issue.ORGANIZATION)
    if content and not all(ours in certificate.subject for certificate in _certificates(content, path)):
        raise AuthorityError(f"{path} holds certificates of somebody else; it is not overwritten")


def _certificates(content: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as exc:
        raise AuthorityError(f"{path} holds no readable certificate ({exc})") from None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
