"""The rules by which secrets are found in bodies: the built-in table, and what a person wrote in files.

Apart because it joins packages that must not know each other: `evidence` reads files, `capture` knows what a rule is,
`attribution` tells which expressions run away. Unlike rules of attribution, a file that cannot be used is an error: a
proxy that was told to redact and does not would be worse than one that does not start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudeproxy.capture.finder import SecretFinder, check
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.patterns import SecretRuleError, rule_of
from claudeproxy.capture.secret import load_or_create_secret
from claudeproxy.errors import ConfigError
from claudeproxy.evidence.rulefiles import read_rule_file, rule_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.capture.patterns import SecretRule

OFF: Final = "off"
REPORT: Final = "report"
REDACT: Final = "redact"


def secret_rules(files: Sequence[str] = ()) -> list[SecretRule]:
    """The rules of these files (a directory stands for its YAML files), then the built-in ones.

    :raises ConfigError: one of them cannot be used: which rule of which file, what is wrong, how to mend it.
    """
    rules: list[SecretRule] = []
    for path in files:
        for file in rule_files(Path(path).expanduser()):
            rules += _read(file)
    rules += KNOWN
    for name, problem in check(rules).items():
        raise ConfigError(f"secret_rules: rule {name}: {problem}")
    return rules


def secret_finder(files: Sequence[str], secret_path: Path) -> SecretFinder:
    """Ready to search, with this installation's key.

    :raises ConfigError: as `secret_rules`.
    :raises JournalError: the installation's secret cannot be read.
    """
    return SecretFinder(secret_rules(files), key=load_or_create_secret(secret_path))


def relay_finder(mode: str, files: Sequence[str], secret_path: Path) -> SecretFinder | None:
    """What masks secrets before the journal, None where nothing does. Raises as `secret_finder`, in every mode but off:
    a file that cannot be used is to be said at the start, by the process that a person talks to."""
    if mode == OFF:
        return None
    finder = secret_finder(files, secret_path)
    return finder if mode == REDACT else None


def _read(path: Path) -> list[SecretRule]:
    document = read_rule_file(path)
    if document.problem:
        raise ConfigError(f"secret_rules: {path}: {document.problem}")
    content = document.content
    rows = content.get("rules", content) if isinstance(content, dict) else content
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise ConfigError(f"secret_rules: {path}: write a list under the key `rules:`, one entry a rule")
    return list(_rules(path, rows))


def _rules(path: Path, rows: Iterable[object]) -> Iterable[SecretRule]:
    from claudeproxy.attribution.regexes import may_run_away  # with all of attribution: only where there are files

    for number, row in enumerate(rows, 1):
        try:
            yield rule_of(row, runs_away=may_run_away)
        except SecretRuleError as error:
            name = row.get("id") if isinstance(row, dict) else None
            raise ConfigError(f"secret_rules: {path}: rule {name or f'number {number}'}: {error}") from None
