"""The certificates themselves, extension by extension."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from claudeproxy.tls import issue
from claudeproxy.tls.names import permitted_names

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NAMES = permitted_names(["gateway.example"])


class Chain:
    def __init__(self, host: str = "api.anthropic.com", now: datetime = NOW) -> None:
        root_key, key, leaf_key = issue.new_key(), issue.new_key(), issue.new_key()
        self.root = issue.issue_root(root_key, NAMES, NOW)
        self.intermediate = issue.issue_intermediate(key.public_key(), self.root, root_key, NAMES, NOW)
        self.leaf = issue.issue_leaf(host, leaf_key.public_key(), self.intermediate, key, now)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


def test_each_certificate_is_signed_by_the_one_above_with_p_256(chain: Chain) -> None:
    for subject, issuer in ((chain.root, chain.root), (chain.intermediate, chain.root), (chain.leaf, chain.intermediate)):  # fmt: skip # noqa: E501
        subject.verify_directly_issued_by(issuer)
        key = subject.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)


def test_root_and_intermediate_carry_the_same_critical_constraints_on_names_and_addresses(chain: Chain) -> None:
    for certificate in (chain.root, chain.intermediate):
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        assert extension.critical
        permitted = extension.value.permitted_subtrees
        assert permitted is not None
        assert [entry.value for entry in permitted if isinstance(entry, x509.DNSName)] == [
            "anthropic.com",
            "claude.ai",
            "claude.com",
            "gateway.example",
            "localhost",
        ]
        assert [entry.value for entry in permitted if isinstance(entry, x509.IPAddress)] == [
            ipaddress.ip_network("127.0.0.1/32"),
            ipaddress.ip_network("::1/128"),
        ]
        assert issue.constrained_names(certificate) == NAMES


def test_the_path_lengths_allow_one_intermediate_and_no_more(chain: Chain) -> None:
    for certificate, ca, length in ((chain.root, True, 1), (chain.intermediate, True, 0), (chain.leaf, False, None)):
        extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (extension.critical, extension.value.ca, extension.value.path_length) == (True, ca, length)


def test_authorities_may_sign_and_leaves_may_not(chain: Chain) -> None:
    for certificate in (chain.root, chain.intermediate):
        extension = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert (extension.critical, extension.value.key_cert_sign, extension.value.digital_signature) == (True, True, False)  # fmt: skip # noqa: E501
    usage = chain.leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (False, True)


def test_intermediate_and_leaf_serve_servers_only(chain: Chain) -> None:
    for certificate in (chain.intermediate, chain.leaf):
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_each_certificate_names_the_key_of_its_issuer(chain: Chain) -> None:
    for subject, issuer in ((chain.intermediate, chain.root), (chain.leaf, chain.intermediate)):
        authority = subject.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert authority.key_identifier == identifier.digest


def test_an_authority_lasts_a_year_and_a_leaf_ninety_days(chain: Chain) -> None:
    assert chain.root.not_valid_after_utc == chain.intermediate.not_valid_after_utc == NOW + timedelta(days=365)
    assert chain.leaf.not_valid_after_utc == NOW + timedelta(days=90)
    for certificate in (chain.root, chain.intermediate, chain.leaf):
        assert certificate.not_valid_before_utc == NOW - timedelta(days=1)


def test_a_leaf_does_not_outlive_its_issuer() -> None:
    chain = Chain(now=NOW + timedelta(days=300))
    assert chain.leaf.not_valid_after_utc == chain.intermediate.not_valid_after_utc


@pytest.mark.parametrize(
    ("host", "alternative"),
    [
        ("claude.ai", x509.DNSName("claude.ai")),
        ("127.0.0.1", x509.IPAddress(ipaddress.ip_address("127.0.0.1"))),
        ("::1", x509.IPAddress(ipaddress.ip_address("::1"))),
    ],
)
def test_a_leaf_names_its_host_once_and_not_in_its_subject(host: str, alternative: x509.GeneralName) -> None:
    leaf = Chain(host).leaf
    assert list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [alternative]
    assert leaf.subject.rfc4514_string() == "O=claudeproxy"


def test_a_certificate_without_constraints_permits_no_name(chain: Chain) -> None:
    assert issue.constrained_names(chain.leaf) == ()
