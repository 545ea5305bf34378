"""`CertificateAuthority`: made once, kept, loaded with suspicion, rotated on demand."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from claudeproxy.errors import AuthorityError
from claudeproxy.tls import issue
from claudeproxy.tls.authority import CertificateAuthority, rotate
from claudeproxy.tls.names import permitted_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "home" / "ca.crt", tmp_path / "home" / "ca.key"


def test_an_authority_in_memory_covers_the_defaults_its_names_and_loopback() -> None:
    authority = CertificateAuthority.generate_root_ca(["gateway.example"])
    for host in ("api.anthropic.com", "claude.ai", "gateway.example", "localhost", "127.0.0.1", "::1", "[::1]"):
        assert authority.covers(host)
    for host in ("example.com", "evilanthropic.com", "127.0.0.2", "10.0.0.1", "not a name"):
        assert not authority.covers(host)
    assert "gateway.example" in repr(authority)


def test_a_leaf_comes_with_its_chain_and_one_key_for_the_process() -> None:
    authority = CertificateAuthority.generate_root_ca()
    first, second = authority.generate_domain_cert("API.anthropic.com."), authority.generate_domain_cert("claude.ai")
    assert first.host == "api.anthropic.com"
    assert first.chain == (authority.intermediate,)
    assert first.key is second.key
    assert first.certificate.public_key() == first.key.public_key()
    assert first.not_after == first.certificate.not_valid_after_utc
    assert x509.load_pem_x509_certificates(first.pem) == [first.certificate, authority.intermediate]
    first.certificate.verify_directly_issued_by(authority.intermediate)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "not a name"])
def test_no_leaf_is_issued_for_a_name_that_is_not_covered(host: str) -> None:
    with pytest.raises(AuthorityError):
        CertificateAuthority.generate_root_ca().generate_domain_cert(host)


def test_a_name_that_is_not_covered_is_refused_with_the_remedy() -> None:
    with pytest.raises(AuthorityError, match="ca rotate"):
        CertificateAuthority.generate_root_ca().generate_domain_cert("example.com")


def test_the_authority_on_disk_is_unchanged_after_a_restart(paths: tuple[Path, Path]) -> None:
    first = CertificateAuthority.load_or_create_ca(*paths)
    before = [path.read_bytes() for path in paths]
    again = CertificateAuthority.load_or_create_ca(*paths, names=["other.example"])
    assert [path.read_bytes() for path in paths] == before
    assert again.fingerprint == first.fingerprint == CertificateAuthority.load_ca(*paths).fingerprint
    assert not again.covers("other.example")


def test_the_certificate_file_holds_the_root_alone_and_the_key_file_no_root_key(paths: tuple[Path, Path]) -> None:
    authority = CertificateAuthority.load_or_create_ca(*paths)
    assert paths[0].read_bytes() == authority.root_pem
    key = serialization.load_pem_private_key(paths[1].read_bytes(), None)
    assert key.public_key() == authority.intermediate.public_key()
    assert key.public_key() != authority.root.public_key()
    assert paths[1].read_bytes().count(b"PRIVATE KEY") == 2  # begin and end of one key
    assert authority.bundle_pem.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_both_files_are_private_in_a_private_directory(paths: tuple[Path, Path]) -> None:
    CertificateAuthority.load_or_create_ca(*paths)
    assert [path.stat().st_mode & 0o777 for path in (*paths, paths[0].parent)] == [0o600, 0o600, 0o700]


def test_two_authorities_can_be_told_apart_by_name_and_fingerprint() -> None:
    first, second = CertificateAuthority.generate_root_ca(), CertificateAuthority.generate_root_ca()
    assert first.root.subject != second.root.subject
    assert first.fingerprint != second.fingerprint
    assert len(first.fingerprint) == 64


def test_processes_that_start_together_agree_on_one_authority(paths: tuple[Path, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from claudeproxy.tls.authority import CertificateAuthority; "
        "print(CertificateAuthority.load_or_create_ca(Path(sys.argv[1]), Path(sys.argv[2])).fingerprint)"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    seen = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert seen == {CertificateAuthority.load_ca(*paths).fingerprint}
    assert {path.name for path in paths[0].parent.iterdir()} == {"ca.crt", "ca.key"}


async def test_threads_that_start_together_agree_on_one_authority(paths: tuple[Path, Path]) -> None:
    seen: set[str] = set()

    async def load() -> None:
        authority = await trio.to_thread.run_sync(lambda: CertificateAuthority.load_or_create_ca(*paths))
        seen.add(authority.fingerprint)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(load)
    assert len(seen) == 1


def test_a_lost_certificate_file_is_made_again_from_the_key_file(paths: tuple[Path, Path]) -> None:
    before = CertificateAuthority.load_or_create_ca(*paths).root_pem
    paths[0].unlink()
    CertificateAuthority.load_or_create_ca(*paths)
    assert paths[0].read_bytes() == before


def test_a_lost_key_is_an_error_with_a_remedy_and_nothing_is_overwritten(paths: tuple[Path, Path]) -> None:
    before = CertificateAuthority.load_or_create_ca(*paths).root_pem
    paths[1].unlink()
    with pytest.raises(AuthorityError, match="ca rotate"):
        CertificateAuthority.load_or_create_ca(*paths)
    assert paths[0].read_bytes() == before


def test_loading_what_is_not_there_creates_nothing(paths: tuple[Path, Path]) -> None:
    with pytest.raises(AuthorityError, match="no certificate authority"):
        CertificateAuthority.load_ca(*paths)
    assert not paths[0].parent.exists()


def test_files_of_two_authorities_do_not_go_together(paths: tuple[Path, Path]) -> None:
    CertificateAuthority.load_or_create_ca(*paths)
    paths[0].write_bytes(CertificateAuthority.generate_root_ca().root_pem)
    with pytest.raises(AuthorityError, match="do not belong together"):
        CertificateAuthority.load_or_create_ca(*paths)


def test_an_expired_authority_is_refused_with_the_remedy_and_can_still_be_looked_at(paths: tuple[Path, Path]) -> None:
    then = datetime.now(UTC) - timedelta(days=400)
    CertificateAuthority.load_or_create_ca(*paths, clock=lambda: then)
    with pytest.raises(AuthorityError, match=r"expired on .*ca rotate"):
        CertificateAuthority.load_or_create_ca(*paths)
    authority = CertificateAuthority.load_ca(*paths)
    assert authority.not_after == (then + timedelta(days=365)).replace(microsecond=0)
    with pytest.raises(AuthorityError, match="expired"):
        authority.generate_domain_cert("claude.ai")


def other_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def encrypted_key() -> bytes:
    return issue.new_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


def plain_key() -> bytes:
    return issue.new_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda good: b"",
        lambda good: b"junk",
        lambda good: good[: len(good) // 2],
        lambda good: good[:200] + b"!" + good[201:],
        lambda good: good[good.index(b"-----BEGIN CERT") :],
        lambda good: good[: good.index(b"-----BEGIN CERT")],
        lambda good: plain_key() + good[good.index(b"-----BEGIN CERT") :],
        lambda good: other_key() + good[good.index(b"-----BEGIN CERT") :],
        lambda good: encrypted_key() + good[good.index(b"-----BEGIN CERT") :],
        lambda good: good[: good.rindex(b"-----BEGIN CERT")] + CertificateAuthority.generate_root_ca().root_pem,
    ],
)
def test_a_damaged_key_file_is_an_authority_error(paths: tuple[Path, Path], make: object) -> None:
    assert callable(make)
    CertificateAuthority.load_or_create_ca(*paths)
    paths[1].write_bytes(make(paths[1].read_bytes()))
    with pytest.raises(AuthorityError):
        CertificateAuthority.load_or_create_ca(*paths)


def test_a_damaged_certificate_file_is_an_authority_error(paths: tuple[Path, Path]) -> None:
    CertificateAuthority.load_or_create_ca(*paths)
    paths[0].write_bytes(b"junk")
    with pytest.raises(AuthorityError, match="no readable certificate"):
        CertificateAuthority.load_ca(*paths)


def test_a_dangling_link_in_place_of_the_key_is_refused(paths: tuple[Path, Path]) -> None:
    paths[1].parent.mkdir()
    paths[1].symlink_to(paths[1].parent / "nowhere")
    with pytest.raises(AuthorityError, match="symbolic link"):
        CertificateAuthority.load_or_create_ca(*paths)


def test_rotation_replaces_both_files_and_takes_new_names(paths: tuple[Path, Path]) -> None:
    before = CertificateAuthority.load_or_create_ca(*paths)
    rotated = rotate(*paths, names=["gateway.example"])
    loaded = CertificateAuthority.load_or_create_ca(*paths)
    assert before.fingerprint != rotated.fingerprint == loaded.fingerprint
    assert loaded.covers("gateway.example")


def test_rotation_mends_a_pair_that_does_not_belong_together_and_makes_a_missing_one(paths: tuple[Path, Path]) -> None:
    rotate(*paths)
    paths[1].unlink()
    rotate(*paths)
    paths[0].write_bytes(b"")
    rotate(*paths)
    assert CertificateAuthority.load_ca(*paths).root_pem == paths[0].read_bytes()


def test_rotation_does_not_overwrite_what_is_not_ours(paths: tuple[Path, Path]) -> None:
    CertificateAuthority.load_or_create_ca(*paths)
    before = paths[1].read_bytes()
    link = paths[0].with_name("link.crt")
    link.symlink_to(paths[0])
    with pytest.raises(AuthorityError, match="symbolic link"):
        rotate(link, paths[1])
    for content in (b"my notes", somebody_s_certificate()):
        other = paths[0].with_name("other.crt")
        other.write_bytes(content)
        with pytest.raises(AuthorityError):
            rotate(other, paths[1])
        assert other.read_bytes() == content
    assert paths[1].read_bytes() == before


def somebody_s_certificate() -> bytes:
    return trustme.CA(organization_name="Somebody").cert_pem.bytes()


def test_constraints_read_back_are_the_names_that_were_asked_for() -> None:
    assert CertificateAuthority.generate_root_ca(["gateway.example"]).names == permitted_names(["gateway.example"])
