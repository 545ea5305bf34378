from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from claudeproxy_cli.bundle import (
    TRUST_VARIABLES,
    caller_certificates,
    certificates,
    contains,
    system_certificates,
    write_bundle,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def ours() -> bytes:
    return trustme.CA(organization_name="ours").cert_pem.bytes()


@pytest.fixture(scope="module")
def corporate() -> bytes:
    return trustme.CA(organization_name="corporate").cert_pem.bytes()


def test_certificates_are_found_between_comments(ours: bytes, corporate: bytes) -> None:
    found = certificates(b"# Somebody's CA\n" + ours + b"\nSubject: x\n" + corporate + b"-----BEGIN CERTIFICATE-----\n")
    assert found == [ours.strip(), corporate.strip()]


def test_the_system_trusts_somebody() -> None:
    assert len(system_certificates()) > 10


def test_a_bundle_holds_each_certificate_once_and_openssl_reads_it(
    tmp_path: Path, ours: bytes, corporate: bytes
) -> None:
    rewrapped = ours.replace(b"\n", b"\r\n")
    written = write_bundle(tmp_path / "b.pem", (certificates(corporate), certificates(ours), certificates(rewrapped)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(written))
    assert len(context.get_ca_certs()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b.pem"]


def test_callers_who_trust_others_get_files_of_their_own(tmp_path: Path, ours: bytes, corporate: bytes) -> None:
    theirs = certificates(corporate)
    plain = write_bundle(tmp_path / "b.pem", (certificates(ours),))
    first = write_bundle(tmp_path / "b.pem", (certificates(ours), theirs), variant=theirs)
    again = write_bundle(tmp_path / "b.pem", (certificates(ours), theirs), variant=theirs)
    assert plain.name == "b.pem"
    assert first == again != plain
    assert contains(certificates(first.read_bytes()), theirs[0])


@pytest.mark.parametrize("name", TRUST_VARIABLES)
def test_what_the_caller_trusts_is_kept(tmp_path: Path, ours: bytes, corporate: bytes, name: str) -> None:
    path = tmp_path / "corporate.pem"
    path.write_bytes(corporate + ours)
    assert caller_certificates({name: str(path)}, ours=certificates(ours)) == certificates(corporate)


def test_a_variable_that_leads_nowhere_adds_nothing(tmp_path: Path) -> None:
    assert caller_certificates({"SSL_CERT_FILE": str(tmp_path / "missing")}, ours=[]) == []
