"""The built-in table of secrets: keys and tokens with a form of their own, and private keys.

Apart from `patterns`, which says what a rule is. What has no form (a password, a key of forty letters) is in no table:
it is found only where something names it (`aws_secret_access_key`, `://user:password@`). Sources: the vendors' own
documentation of their formats. Examples are put together from pieces, so that no text in this repository looks real.
"""

from __future__ import annotations

import re

from claudeproxy.capture.patterns import SecretRule

_LETTERS = {"a-f0-9": "1a0b2c", "A-Z2-7": "DUMMY2", "A-Z0-9": "DUMMY0"}


def _fill(length: int, letters: str = "dummy0Dummy1") -> str:
    return (letters * length)[:length]


def _rule(
    name: str,
    markers: tuple[str, ...],
    rest: str,
    *,
    example: str,
    counter_example: str,
    note: str,
    most: int,
) -> SecretRule:
    return SecretRule(
        id=name,
        markers=tuple(marker.encode() for marker in markers),
        rest=re.compile(rest.encode()),
        most=most,
        example=example,
        counter_example=counter_example,
        note=note,
    )


def _token(name: str, markers: tuple[str, ...], letters: str, least: int, most: int, *, note: str) -> SecretRule:
    """A marker and a run of letters that is no longer than it may be."""
    count = f"{{{least},{most}}}" if least != most else f"{{{least}}}"
    fill = _fill(least, _LETTERS.get(letters, "dummy0Dummy1"))
    return _rule(
        name,
        markers,
        f"[{letters}]{count}(?![A-Za-z0-9])",
        example=f"token={markers[0]}{fill} ",
        counter_example=f"token={markers[0]}... ",
        note=note,
        most=most + max(map(len, markers)) + 1,
    )


_WORD = r"A-Za-z0-9_\-"

# A line break as it stands in a text, in JSON, or in JSON inside JSON; then what tools put before a line: blanks, a
# number and a mark (Claude Code's Read prints `    12→`).
_BREAK = r"(?:[\r\n]|\\{1,8}[nr])[ \t]{0,12}(?:[0-9]{1,6}(?:\xe2\x86\x92|\\{1,8}u2192|\t|\\{1,8}t|[:|]))?[ \t]{0,12}"
_ENCRYPTED = rf"(?:[A-Z][A-Za-z-]{{1,20}}: [A-Za-z0-9,\-]{{1,80}}(?:{_BREAK}){{1,4}}){{0,4}}"

KNOWN: tuple[SecretRule, ...] = (
    _token("anthropic-key", ("sk-ant-",), _WORD, 24, 400, note="API keys, OAuth and session tokens of Anthropic"),
    _token("openai-key", ("sk-proj-", "sk-svcacct-", "sk-admin-"), _WORD, 40, 300, note="API keys of OpenAI"),
    _rule(
        "openai-key-old",
        ("sk-",),
        r"[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}(?![A-Za-z0-9])",
        example=f"sk-{_fill(20)}T3Blbk" + f"FJ{_fill(20)} ",
        counter_example=f"sk-{_fill(48)} ",
        note="API keys of OpenAI until 2024",
        most=60,
    ),
    _token("aws-access-key", ("AKIA", "ASIA"), "A-Z2-7", 16, 16, note="access key ids of AWS"),
    _rule(
        "aws-secret-key",
        ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        r"""["'\\]{0,8}\s{0,4}[=:]\s{0,4}["'\\]{0,8}(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])""",
        example=f"aws_secret_access_key = {_fill(40)}\n",
        counter_example="aws_secret_access_key = $SECRET\n",
        note="secret access keys of AWS, where they are named",
        most=96,
    ),
    _token("google-api-key", ("AIza",), _WORD, 35, 35, note="API keys of Google"),
    _token("google-oauth", ("ya29.", "GOCSPX-"), _WORD, 20, 800, note="OAuth tokens and client secrets of Google"),
    _token(
        "github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), "A-Za-z0-9_", 36, 255, note="GitHub"
    ),
    _token("gitlab-token", ("glpat-", "gldt-", "glrt-"), rf"{_WORD}.", 20, 300, note="GitLab"),
    _token(
        "slack-token", ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-"), r"A-Za-z0-9\-", 20, 250, note="Slack"
    ),
    _token("stripe-key", ("sk_live_", "rk_live_", "whsec_"), "A-Za-z0-9", 20, 250, note="live keys of Stripe"),
    _token("npm-token", ("npm_",), "A-Za-z0-9", 36, 36, note="the npm registry"),
    _token("pypi-token", ("pypi-AgE",), _WORD, 50, 500, note="PyPI and TestPyPI"),
    _token("huggingface-token", ("hf_",), "A-Za-z0-9", 30, 60, note="Hugging Face"),
    _rule(
        "sendgrid-key",
        ("SG.",),
        rf"[{_WORD}]{{22}}\.[{_WORD}]{{43}}(?![A-Za-z0-9])",
        example=f"SG.{_fill(22)}.{_fill(43)} ",
        counter_example=f"SG.{_fill(22)} ",
        note="SendGrid",
        most=72,
    ),
    _token("databricks-token", ("dapi",), "a-f0-9", 32, 32, note="Databricks"),
    _token("digitalocean-token", ("dop_v1_", "doo_v1_"), "a-f0-9", 64, 64, note="DigitalOcean"),
    _token("vault-token", ("hvs.",), _WORD, 24, 300, note="HashiCorp Vault"),
    _rule(
        "jwt",
        ("eyJ",),
        rf"[{_WORD}]{{8,1000}}\.eyJ[{_WORD}]{{8,3000}}\.[{_WORD}]{{16,1000}}",
        example=f"eyJ{_fill(20)}.eyJ{_fill(20)}.{_fill(43)} ",
        counter_example=f"eyJ{_fill(20)}.{_fill(20)} ",
        note="signed JSON web tokens: session and identity tokens of many services",
        most=5100,
    ),
    _rule(
        "bearer-token",
        ("Bearer ", "bearer "),
        r"(?P<secret>[A-Za-z0-9._~+/\-]{20,2000}={0,2})",
        example=f"Authorization: Bearer {_fill(40)}",
        counter_example="Authorization: Bearer $TOKEN",
        note="what stands behind `Bearer` in a command, a log or a file",
        most=2012,
    ),
    _rule(
        "url-password",
        ("://",),
        r"""[^\s/:@"'\\<>{}$]{0,100}:(?P<secret>[^\s/@"'\\<>{}$]{6,200})@""",
        example=f"postgres://app:{_fill(12)}@db.internal/app",
        counter_example="http://localhost:8080/@scope",
        note="passwords in URLs of databases, registries and repositories",
        most=306,
    ),
    _rule(
        "private-key",
        ("-----BEGIN ",),
        rf"(?:[A-Z0-9]{{1,12}} ){{0,3}}PRIVATE KEY(?: BLOCK)?-----(?:{_BREAK}){{1,4}}{_ENCRYPTED}"
        rf"(?P<secret>(?:[A-Za-z0-9+/=]|\\{{1,8}}/|\\{{1,8}}u00[0-9a-fA-F]{{2}}|{_BREAK}){{64,12000}})",
        example=f"-----BEGIN RSA PRIVATE KEY-----\n{_fill(64)}\n{_fill(20)}\n-----END RSA PRIVATE KEY-----",
        counter_example=f"-----BEGIN CERTIFICATE-----\n{_fill(64)}\n{_fill(20)}\n-----END CERTIFICATE-----",
        note="private keys in PEM: RSA, EC, OpenSSH, PGP and others, in whole or cut off",
        most=16384,
    ),
    _token("age-key", ("AGE-SECRET-KEY-1",), "A-Z0-9", 58, 58, note="private keys of age"),
)
"""In the order in which they are tried where several begin at the same byte."""
