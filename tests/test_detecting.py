from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.known import KNOWN
from claudeproxy.detecting import relay_finder, secret_finder, secret_rules
from claudeproxy.errors import ConfigError
from claudeproxy.placing import secret_look

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
rules:
  - id: acme-token
    starts_with: acme_
    matches: '[a-z0-9]{20}(?![a-z0-9])'
    example: "token acme_abcdefghijklmnopqrst"
    counter_example: "acme_short"
"""


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_persons_rules_go_before_the_built_in_ones(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.yaml", GOOD)
    assert [rule.id for rule in secret_rules([file])] == ["acme-token", *(rule.id for rule in KNOWN)]
    assert secret_rules([str(tmp_path)])[0].id == "acme-token"  # a directory stands for its files
    finder = secret_finder([file], tmp_path / "secret")
    assert [one.rule for one in finder.scan(b"x acme_abcdefghijklmnopqrst x")] == ["acme-token"]


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    assert secret_rules([written(tmp_path / "none.yaml", "# nothing yet\n")]) == list(KNOWN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: {}", "write a list under the key `rules:`"),
        ("rules: [{id: x}]", "rule x: `starts_with` is missing"),
        ("rules: [5]", "rule number 1: a rule is a mapping"),
        (GOOD.replace("{20}", "{20,}"), "rule acme-token: `matches` may go on"),
        (GOOD.replace("[a-z0-9]{20}", "(?:[a-z]{20,30}){20,30}"), "repeats a repetition"),
        (GOOD.replace("acme_short", "acme_abcdefghijklmnopqrst"), "rule acme-token: a secret is found in the counter"),
        (GOOD.replace("id: acme-token", "id: jwt"), "rule jwt: another rule has this id"),
        ("rules: [", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    """Were it left out as rules of attribution are, a secret would be stored that was to be masked."""
    file = written(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as caught:
        secret_rules([file])
    assert said in str(caught.value)
    assert str(caught.value).startswith("secret_rules: ")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        secret_rules([str(tmp_path / "none.yaml")])


def test_the_relay_masks_in_one_mode_only_and_checks_the_rules_in_two(tmp_path: Path) -> None:
    secret, bad = tmp_path / "secret", [written(tmp_path / "bad.yaml", "rules: 5")]
    assert relay_finder("off", bad, secret) is None
    assert relay_finder("report", [], secret) is None
    assert relay_finder("redact", [], secret) is not None
    for mode in ("report", "redact"):
        with pytest.raises(ConfigError):
            relay_finder(mode, bad, secret)
    assert secret_look("off", bad, str(secret)) is None
    assert secret_look("report", [], str(secret)) is not None
