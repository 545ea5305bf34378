"""``claudeproxy ca``: the certificate authority, and who trusts it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy.errors import AuthorityError
from claudeproxy_cli.arguments import ask
from claudeproxy_cli.options import ConfigOption, HomeOption, JsonOption, load_config
from claudeproxy_cli.render import note, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.tls.authority import CertificateAuthority
    from claudeproxy_cli.trust import Plan

app = typer.Typer(
    help="The certificate authority of the proxy.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the commands and run none.")]

WARN_DAYS: Final = 30


@app.command("path", epilog="Example: claudeproxy ca path")
def path_command(home: HomeOption = None, config: ConfigOption = None) -> None:
    """Print the path of the certificate to trust.

    It is made if there is none. NODE_EXTRA_CA_CERTS=$(claudeproxy ca path) is what Claude Code needs.
    """
    settings = load_config(home, config)
    authority(settings)
    print(settings.ca_cert_path)


@app.command("show", epilog="Example: claudeproxy ca show --json")
def show_command(home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the certificate's facts."""
    settings = load_config(home, config)
    facts = describe(authority(settings), settings)
    if as_json:
        write_json(facts)
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = ("no", "yes")[value] if isinstance(value, bool) else shown
        print(f"{name.replace('_', ' ') + ':':<18}{shown}")


@app.command("install", epilog="Example: claudeproxy ca install --dry-run")
def install_command(home: HomeOption = None, config: ConfigOption = None, dry_run: DryRunOption = False) -> None:
    """Make this system trust the certificate.

    Clients then need no variable. It can vouch for Anthropic's domains and this machine only: its name
    constraints and a destroyed root key see to it.
    """
    from claudeproxy_cli import trust

    settings = load_config(home, config)
    authority(settings)
    plan = trust.install_plan(settings.ca_cert_path, store=trust.linux_store())
    _carry_out(plan, settings.ca_cert_path, dry_run=dry_run)
    if not dry_run:
        print("installed; programs that are running keep the certificates they know: start them again")


@app.command("uninstall", epilog="Example: claudeproxy ca uninstall --dry-run")
def uninstall_command(home: HomeOption = None, config: ConfigOption = None, dry_run: DryRunOption = False) -> None:
    """Make this system forget the certificate.

    Bundles that hold it are deleted. The authority's own files stay in the home: `claudeproxy run` needs no
    installation.
    """
    from claudeproxy_cli import trust

    settings = load_config(home, config)
    plan = trust.uninstall_plan(settings.ca_cert_path, sha1=sha1(authority(settings)), store=trust.linux_store())
    _carry_out(plan, settings.ca_cert_path, dry_run=dry_run)
    if not dry_run:
        delete_bundles(settings)
        print("uninstalled")


@app.command("rotate", epilog="Example: claudeproxy ca rotate")
def rotate_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make a new certificate authority.

    Whoever trusted the old one must trust the new one. For an expired one, a key that somebody else may have
    read, or hosts that the old one does not cover. Nothing of the old one stays: a system that trusts it forgets it
    first, its files and the bundles that hold it are replaced or deleted.
    """
    from claudeproxy.tls.authority import rotate

    settings = load_config(home, config)
    if not yes:
        ask("Clients that trust the present certificate will refuse the new one. Go on? [y/N] ")
    _forget_installed(settings)
    made = rotate(settings.ca_cert_path, settings.ca_key_path, names=settings.intercept_hosts)
    delete_bundles(settings)
    print(f"new certificate: {settings.ca_cert_path} ({colons(made.fingerprint)})")
    print("restart `claudeproxy serve`; where the old one was installed, run `claudeproxy ca install` again")


def delete_bundles(config: ClaudeProxyConfig) -> None:
    """Delete the bundles in the home; `claudeproxy run` makes them again, with the certificate that there is then."""
    bundle = config.paths.bundle
    for path in (bundle, *bundle.parent.glob(f"{bundle.stem}-*{bundle.suffix}")):
        path.unlink(missing_ok=True)


def _forget_installed(config: ClaudeProxyConfig) -> None:
    """Have the system forget the present root, if it trusts it: once that is replaced, nobody knows its fingerprint.

    Exits where that needs root, with the lines to type; the authority is as it was then.
    """
    from claudeproxy.tls.authority import CertificateAuthority
    from claudeproxy_cli import trust

    try:
        present = CertificateAuthority.load_ca(config.ca_cert_path, config.ca_key_path)
    except AuthorityError:
        return  # there is none, or none that can be read: that is what a rotation mends
    if trusted_by_system(present.root_pem):
        plan = trust.uninstall_plan(config.ca_cert_path, sha1=sha1(present), store=trust.linux_store())
        _carry_out(plan, config.ca_cert_path, dry_run=False)


def authority(config: ClaudeProxyConfig) -> CertificateAuthority:
    """The authority of a configuration, made if there is none."""
    from claudeproxy.tls.authority import CertificateAuthority

    config.paths.create()
    return CertificateAuthority.load_or_create_ca(config.ca_cert_path, config.ca_key_path, names=config.intercept_hosts)


def describe(made: CertificateAuthority, config: ClaudeProxyConfig) -> dict[str, object]:
    """The facts of an authority for people and JSON."""
    from datetime import UTC, datetime

    left = made.not_after - datetime.now(UTC)
    return {
        "path": str(config.ca_cert_path),
        "subject": made.root.subject.rfc4514_string(),
        "sha256": colons(made.fingerprint),
        "not_before": made.root.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": made.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": left.days,
        "covers": list(made.names),
        "key": str(config.ca_key_path),
        "system_trusts_it": trusted_by_system(made.root_pem),
    }


def trusted_by_system(root_pem: bytes) -> bool:
    """Whether the system's store holds the root."""
    from claudeproxy_cli.bundle import certificates, contains, system_certificates

    return contains(system_certificates(), certificates(root_pem)[0])


def sha1(made: CertificateAuthority) -> str:
    """The root's SHA-1 in hex: a name that stores know it under, not a proof."""
    from cryptography.hazmat.primitives import hashes

    return made.root.fingerprint(hashes.SHA1()).hex()  # noqa: S303


def colons(digest: str) -> str:
    """``AB:CD:...``, as browsers and OpenSSL write fingerprints."""
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)).upper()


def _carry_out(plan: Plan | None, certificate: Path, *, dry_run: bool) -> None:
    from claudeproxy_cli.trust import is_root

    if plan is None:
        raise AuthorityError(
            f"this system's trust store is none that claudeproxy knows. Add or remove {certificate} by hand, or do "
            "without: `claudeproxy run` needs no installation"
        )
    lacks_root = plan.needs_root and not is_root()
    note(f"store: {plan.store}")
    for line in plan.lines(sudo=lacks_root):
        print(f"  {line}" if dry_run or lacks_root else f"running: {line}")
    if dry_run:
        return
    if lacks_root:
        note("this needs root: run the lines above")
        raise typer.Exit(1)
    for command in plan.commands:
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise AuthorityError(f"`{' '.join(command)}` failed: {error}") from error
