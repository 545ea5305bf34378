"""Real clients accept what the authority covers, and reject the rest even when its own key has signed it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.errors import HandshakeError
from claudeproxy.tls import issue
from claudeproxy.tls.authority import CertificateAuthority, Leaf
from claudeproxy.tls.cache import CertificateCache
from claudeproxy.tls.contexts import make_server_context
from claudeproxy.tls.stream import TLSStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from OpenSSL import SSL

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhello TLS"

PYTHON = """
import socket, ssl, sys
host, port, ca, partial = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if partial == "yes":
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
with socket.create_connection(("127.0.0.1", int(port))) as raw:
    with context.wrap_socket(raw, server_hostname=host) as tls:
        tls.sendall(b"GET / HTTP/1.1\\r\\nHost: " + host.encode() + b"\\r\\n\\r\\n")
        print(tls.recv(1000))
"""
NODE = """
const [host, port] = process.argv.slice(1);
const name = host === '127.0.0.1' ? {} : {servername: host};
require('https').get({host: '127.0.0.1', port, headers: {host}, ...name}, (response) => response.pipe(process.stdout))
  .on('error', (error) => { console.error(error.code, error.message); process.exit(1); });
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    name: str
    program: str

    def command(self, host: str, port: int, ca: Path, partial_chain: bool) -> list[str]:
        if self.name == "curl":  # trusts partial chains by itself
            resolve = [] if host == "127.0.0.1" else ["--resolve", f"{host}:{port}:127.0.0.1"]
            return [self.program, "-sS", "--noproxy", "*", "--cacert", str(ca), *resolve, f"https://{host}:{port}/"]
        if self.name == "openssl":
            check = ["-verify_ip", host] if host == "127.0.0.1" else ["-verify_hostname", host, "-servername", host]
            more = ["-partial_chain"] if partial_chain else []
            connect = ["-connect", f"127.0.0.1:{port}", "-CAfile", str(ca), "-no-CApath", "-no-CAstore"]
            return [self.program, "s_client", *connect, *check, *more, "-verify_return_error", "-x509_strict", "-quiet"]
        if self.name == "node":
            return [self.program, "-e", NODE, host, str(port)]
        return [self.program, "-c", PYTHON, host, str(port), str(ca), "yes" if partial_chain else "no"]


def runs(program: str) -> bool:
    """Version managers put programs on the path that only say that they are not there."""
    argument = "version" if "openssl" in program else "--version"
    return subprocess.run([program, argument], capture_output=True, check=False).returncode == 0


def clients() -> list[object]:
    """Python as it runs the tests, and whatever else is on the path."""
    found: list[object] = [pytest.param(Client(name="python", program=sys.executable), id="python")]
    for name in ("python3.13", "curl", "openssl", "node"):
        program = shutil.which(name)
        marks = [] if program and runs(program) else [pytest.mark.skip(reason=f"{name} is not installed")]
        found.append(pytest.param(Client(name=name, program=program or name), id=name, marks=marks))
    return found


every_client = pytest.mark.parametrize("client", clients())


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate_root_ca(["gateway.example"])


@asynccontextmanager
async def serving(context: SSL.Context) -> AsyncIterator[tuple[int, list[HandshakeError]]]:
    failures: list[HandshakeError] = []

    async def answer(transport: trio.SocketStream) -> None:
        async with TLSStream(transport, context, default_host="127.0.0.1") as stream:
            try:
                await stream.do_handshake()
                if await stream.receive_some():
                    await stream.send_all(ANSWER)
            except HandshakeError as exc:
                failures.append(exc)
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], failures
        nursery.cancel_scope.cancel()


async def ask(client: Client, host: str, port: int, ca: Path, partial_chain: bool = False) -> tuple[bool, str]:
    """Whether the client got the answer, and what it said."""
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(ca)}
    with trio.fail_after(60):
        result = await trio.run_process(
            client.command(host, port, ca, partial_chain),
            stdin=f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment,
        )
    return b"hello TLS" in result.stdout, (result.stdout + result.stderr).decode(errors="replace")


@every_client
@pytest.mark.parametrize("host", ["api.anthropic.com", "claude.ai", "gateway.example", "localhost", "127.0.0.1"])
async def test_a_client_that_trusts_the_root_accepts_every_covered_name(
    authority: CertificateAuthority, tmp_path: Path, client: Client, host: str
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.root_pem)
    async with serving(CertificateCache(authority).server_context()) as (port, _):
        answered, said = await ask(client, host, port, ca)
    assert answered, said


@every_client
async def test_a_client_that_does_not_trust_the_root_is_seen_to_distrust_us(
    authority: CertificateAuthority, tmp_path: Path, client: Client
) -> None:
    ca = tmp_path / "other.crt"
    ca.write_bytes(CertificateAuthority.generate_root_ca().root_pem)
    async with serving(CertificateCache(authority).server_context()) as (port, failures):
        answered, said = await ask(client, "api.anthropic.com", port, ca)
        assert not answered, said
        assert [failure.distrusted for failure in failures] == [True]


def forged(authority: CertificateAuthority, host: str) -> SSL.Context:
    """What a thief of ca.key can do: sign any name, and send whatever chain."""
    key = issue.new_key()
    certificate = issue.issue_leaf(host, key.public_key(), authority.intermediate, authority._key, datetime.now(UTC))
    leaf = Leaf(
        host=host,
        certificate=certificate,
        key=key,
        chain=(authority.intermediate,),
        not_after=certificate.not_valid_after_utc,
    )
    return make_server_context(lambda _: leaf, authority.intermediate)


@every_client
@pytest.mark.parametrize("trusted", ["root", "intermediate"])
@pytest.mark.parametrize("host", ["example.com", "evilanthropic.com", "com"])
async def test_the_authority_s_own_key_cannot_vouch_for_another_name(
    authority: CertificateAuthority, tmp_path: Path, client: Client, host: str, trusted: str
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.root_pem if trusted == "root" else authority.bundle_pem.removeprefix(authority.root_pem))
    async with serving(forged(authority, host)) as (port, _):
        answered, said = await ask(client, host, port, ca, partial_chain=trusted == "intermediate")
    assert not answered
    assert "permitted subtree violation" in said


@every_client
async def test_the_authority_s_own_key_cannot_vouch_for_another_address(tmp_path: Path, client: Client) -> None:
    """127.0.0.1 is taken out of the constraints for once, since it is the address that clients can reach here."""
    key, root_key = issue.new_key(), issue.new_key()
    now, names = datetime.now(UTC), ("anthropic.com", "10.1.2.3")
    root = issue.issue_root(root_key, names, now)
    intermediate = issue.issue_intermediate(key.public_key(), root, root_key, names, now)
    authority = CertificateAuthority(root, intermediate, key)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.root_pem)
    async with serving(forged(authority, "127.0.0.1")) as (port, _):
        answered, said = await ask(client, "127.0.0.1", port, ca)
    assert not answered
    assert "permitted subtree violation" in said
