"""The checks of ``claudeproxy doctor`` that ask whether a client's traffic comes by, and is trusted.

Each is independent and changes nothing; the handshake is a real one, through the running server or one that is started
for it. Each may raise what files and sockets raise: `doctor` turns that into a finding.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from claudeproxy_cli import bundle
from claudeproxy_cli.client_settings import find_shadows
from claudeproxy_cli.environment import covers
from claudeproxy_cli.findings import Check, Status
from claudeproxy_cli.running import find_server, reachable, url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy_cli.findings import Context

WARN_DAYS: Final = 30  # before the CA expires: long enough to have started a client in between
_ANSWER_SECONDS: Final = 10.0


def authority(context: Context) -> Check:
    """Ask whether the CA is there, valid for a while, and covers what is intercepted."""
    from claudeproxy.tls.authority import CertificateAuthority

    config = context.config
    if not config.ca_key_path.exists():
        return Check(
            name="authority", status=Status.OK, detail="no certificate authority yet; the first start makes one"
        )
    made = CertificateAuthority.load_ca(config.ca_cert_path, config.ca_key_path)
    left = made.not_after - datetime.now(UTC)
    uncovered = [host for host in config.intercept_hosts if not made.covers(host)]
    detail = f"{config.ca_cert_path}, valid until {made.not_after:%Y-%m-%d}"
    remedy = "claudeproxy ca rotate, then trust the new one"
    if left < timedelta():
        return Check(name="authority", status=Status.FAIL, detail=f"{detail}: expired", remedy=remedy)
    if uncovered:
        detail += f"; it does not cover {', '.join(uncovered)}"
        return Check(name="authority", status=Status.FAIL, detail=detail, remedy=remedy)
    if left < timedelta(days=WARN_DAYS):
        return Check(name="authority", status=Status.WARN, detail=f"{detail}: {left.days} days left", remedy=remedy)
    return Check(name="authority", status=Status.OK, detail=f"{detail}, for {', '.join(made.names)}")


def trust(context: Context) -> Check:
    """Say who trusts the CA; a client that is led to us by this shell must be among them."""
    config = context.config
    if not config.ca_cert_path.exists():
        return Check(name="trust", status=Status.OK, detail="nothing to trust yet")
    root = bundle.certificates(config.ca_cert_path.read_bytes())[0]
    trusting = ["the system's store"] if bundle.contains(bundle.system_certificates(), root) else []
    for name in bundle.TRUST_VARIABLES:
        path = context.environment.get(name)
        if path and Path(path).is_file() and bundle.contains(bundle.certificates(Path(path).read_bytes()), root):
            trusting.append(name)
    if trusting:
        return Check(name="trust", status=Status.OK, detail=f"trusted by {', '.join(trusting)}")
    remedy = f"export NODE_EXTRA_CA_CERTS={config.ca_cert_path}, or claudeproxy ca install"
    if _leads_to(context.environment, config.bind.port):
        detail = "HTTPS_PROXY leads to claudeproxy, but nobody here trusts its certificate"
        return Check(name="trust", status=Status.FAIL, detail=detail, remedy=remedy)
    detail = "trusted by nobody but the commands of `claudeproxy run`, which is enough for those"
    return Check(name="trust", status=Status.OK, detail=detail, remedy=f"for others: {remedy}")


def _leads_to(environment: Mapping[str, str], port: int) -> bool:
    value = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    try:
        return urlsplit(value if "://" in value else f"http://{value}").port == port
    except ValueError:
        return False


def ports(context: Context) -> Check:
    """Ask whether a server runs, or could."""
    if server := find_server(context.home.state_file):
        where = f"proxy on {server.proxy_url}" + (f", API on {server.api_url}" if server.api else "")
        return Check(name="ports", status=Status.OK, detail=f"running as process {server.pid}: {where}")
    taken = []
    for key, address in (("--bind", context.config.bind), ("--api", context.config.api)):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family) as probe:
            if os.name == "posix":  # as the server does: a port in TIME_WAIT is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                taken.append((key, f"{address} ({error.strerror or error})"))
    if taken:
        remedy = (
            f"claudeproxy serve {' '.join(f'{key} 127.0.0.1:PORT' for key, _ in taken)}, or stop what listens there"
        )
        detail = "no server runs, and its addresses cannot be had: " + ", ".join(text for _, text in taken)
        return Check(name="ports", status=Status.FAIL, detail=detail, remedy=remedy)
    detail = f"no server runs; {context.config.bind_address} and {context.config.api_address} are free"
    return Check(name="ports", status=Status.OK, detail=detail)


def handshake(context: Context) -> Check:
    """Do what a client does: CONNECT to the API, and TLS with our certificate. The API itself is not contacted."""
    from claudeproxy_cli.attached import AttachedServer

    config = context.config
    auth = config.proxy_auth.get_secret_value() if config.proxy_auth else None
    host = config.api_hosts[0]
    if server := find_server(context.home.state_file):
        detail = _handshake(server.proxy, host, config.ca_cert_path, auth)
        return Check(name="handshake", status=Status.OK, detail=f"{detail}, through the running server")
    with tempfile.TemporaryDirectory(prefix="claudeproxy-doctor-") as directory:
        from claudeproxy.config.home import Home

        place = Home(path=Path(directory))
        ca = place.ca_cert
        environment = dict(context.environment)
        if config.ca_key_path.exists():  # the real one, so that it is what is tried
            ca = config.ca_cert_path
            environment |= {"CLAUDEPROXY_CA_CERT_PATH": str(ca), "CLAUDEPROXY_CA_KEY_PATH": str(config.ca_key_path)}
        source = context.config_file or (context.home.config_file if context.home.config_file.exists() else None)
        temporary = AttachedServer.start(place, source, environment=environment)
        try:
            detail = _handshake(temporary.address, host, ca, auth)
        finally:
            temporary.stop(_ANSWER_SECONDS)
    return Check(name="handshake", status=Status.OK, detail=f"{detail}, through a temporary server")


def _handshake(address: tuple[str, int], host: str, ca: Path, auth: str | None) -> str:
    import base64

    trusting_us_only = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting_us_only.load_verify_locations(cafile=str(ca))
    credentials = f"Proxy-Authorization: Basic {base64.b64encode(auth.encode()).decode()}\r\n" if auth else ""
    with socket.create_connection(reachable(address), timeout=_ANSWER_SECONDS) as plain:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{credentials}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = plain.recv(4096)
            if not piece:
                raise ConnectionError(f"{url(address)} closed the connection instead of opening a tunnel")
            answer += piece
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split()[1:2] != ["200"]:
            raise ConnectionError(f"{url(address)} answered CONNECT with {status!r}")
        with trusting_us_only.wrap_socket(plain, server_hostname=host) as secure:
            return f"{secure.version()} as {host}, certificate verified against our CA"


def settings(context: Context) -> Check:
    """Look for settings files of the client that override the environment it is started with."""
    shadows = find_shadows(context.directory, context.environment)
    if not shadows:
        return Check(name="settings", status=Status.OK, detail="no settings file of Claude Code redirects it")
    detail = "; ".join(map(str, shadows))
    remedy = "right if it leads to claudeproxy; otherwise take it out, for it overrides what `run` sets"
    return Check(name="settings", status=Status.WARN, detail=detail, remedy=remedy)


def bypass(context: Context) -> Check:
    """Look for what leads a client started from this shell past the proxy. `run` cures all of it by itself."""
    environment, config = context.environment, context.config
    found = []
    for name in ("NO_PROXY", "no_proxy"):
        entries = environment.get(name, "").replace(" ", ",").split(",")
        found += [f"{name} has {e}" for e in entries if e and any(covers(e, host) for host in config.api_hosts)]
    for name in ("HTTPS_PROXY", "https_proxy"):
        value = environment.get(name, "")
        if value and "://" not in value:
            found.append(f"{name} has no scheme, on which some clients hang: write http://")
    found += [
        f"{name} is set, which some clients prefer" for name in ("ALL_PROXY", "all_proxy") if environment.get(name)
    ]
    base = environment.get("ANTHROPIC_BASE_URL", "")
    host = (urlsplit(base).hostname or base).lower()
    if (
        base
        and not any(covers(name, host) for name in config.intercept_hosts)
        and host not in {"localhost", "127.0.0.1"}
    ):
        found.append(f"ANTHROPIC_BASE_URL points at {host}")
    if found:
        remedy = "use `claudeproxy run` (with --reverse for a base URL), or unset it"
        return Check(name="bypass", status=Status.WARN, detail="; ".join(found), remedy=remedy)
    return Check(name="bypass", status=Status.OK, detail="nothing in this environment leads around the proxy")
