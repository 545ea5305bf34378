"""Makes the three kinds of certificate: root, intermediate and leaf. Pure: keys and names in, certificates out.

Apart from the files and the cache so that every extension stands in one place with its reason. ECDSA P-256 throughout
(RSA handshakes cost 2.5x, RSA key generation 200x). Python 3.13 verifies strictly (RFC 5280): subject key identifiers,
key usage and critical basic constraints on the authorities, authority key identifier and subject names on the leaf.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from claudeproxy.tls.names import as_address

if TYPE_CHECKING:
    from collections.abc import Sequence

AUTHORITY_LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(days=90)
_BACKDATED = timedelta(days=1)  # for clients whose clock runs behind ours, as in containers and virtual machines

ORGANIZATION = "claudeproxy"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def issue_root(key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime) -> x509.Certificate:
    """The self-signed certificate that people trust, constrained to `names` (see `names.permitted_names`).

    Its common name carries the date and a piece of the key's identifier, so that two roots in a trust store can be told
    apart, and so that a chain builder does not take one for the other.
    """
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"claudeproxy root {now:%Y-%m-%d} {identifier.digest[:4].hex()}")
    builder = _authority(key.public_key(), name, names, now, path_length=1)
    return builder.issuer_name(name).sign(key, hashes.SHA256())


def issue_intermediate(
    key: ec.EllipticCurvePublicKey,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> x509.Certificate:
    """The certificate that signs leaves, with the root's constraints again, for servers only.

    Clients may ignore the constraints of a trust anchor (RFC 5280, 6.1.1 does not list them), never these.
    """
    identifier = x509.SubjectKeyIdentifier.from_public_key(key)
    name = _name(f"claudeproxy intermediate {identifier.digest[:4].hex()}")
    return (
        _authority(key, name, names, now, path_length=0)
        .issuer_name(root.subject)
        .add_extension(_authority_key_identifier(root), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(root_key, hashes.SHA256())
    )


def issue_leaf(
    host: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    """A server certificate for `host`, a normal name or address; it never outlives its issuer.

    The subject names no host: OpenSSL holds a common name that looks like one (an IP address does) against the DNS
    constraints, and no client has read host names from there for years.
    """
    address = as_address(host)
    alternative = x509.DNSName(host) if address is None else x509.IPAddress(address)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)]))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - _BACKDATED, issuer.not_valid_before_utc))
        .not_valid_after(min(now + LEAF_LIFETIME, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def constrained_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names a certificate is constrained to, as `names.permitted_names` gave them; empty when it has none."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return ()
    values = (subtree.value for subtree in constraints.permitted_subtrees or ())
    return tuple(
        str(value.network_address) if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network) else str(value)
        for value in values
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _authority(
    key: ec.EllipticCurvePublicKey, name: x509.Name, names: Sequence[str], now: datetime, *, path_length: int
) -> x509.CertificateBuilder:
    addresses = [(host, as_address(host)) for host in names]
    # A permitted subtree of a kind excludes every other name of that kind: DNS names and addresses both have some.
    permitted: list[x509.GeneralName] = [
        x509.DNSName(host) if address is None else x509.IPAddress(ipaddress.ip_network(address))
        for host, address in addresses
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
