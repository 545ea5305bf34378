from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from claudeproxy.evidence.rulefiles import MAX_FILE, read_rule_documents, read_rule_file

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "acme_rules-1.0.dist-info"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that offers rules in every way, and one that cannot."""
    site = tmp_path / "site"
    (site / PACKAGE).mkdir(parents=True)
    (site / PACKAGE / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rules\nVersion: 1.0\n")
    (site / PACKAGE / "entry_points.txt").write_text(
        "[claudeproxy.rules]\nbroken = acme_rules_module:missing\nfunction = acme_rules_module:make\n"
        "table = acme_rules_module:RULES\nthrower = acme_rules_module:throw\n"
    )
    (site / "acme_rules_module.py").write_text(
        "RULES = {'rules': [{'id': 'a'}]}\ndef make():\n    return [{'id': 'b'}]\ndef throw():\n    raise OSError\n"
    )
    monkeypatch.syspath_prepend(str(site))
    return site


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n  - id: é\n", encoding="utf-8")
    document = read_rule_file(file)
    assert (document.origin, document.content, document.problem) == (str(file), {"rules": [{"id": "é"}]}, None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"rules:\n  - source: MCP: docs\n", "is not YAML: line 2: .*put the value into quotes"),
        (b"rules: [\n", "is not YAML: line 2: .*; mend that line"),
        (b"rules: \xff", "is not UTF-8"),
        (b"rules: !!python/object/apply:os.getcwd []", "is not YAML"),
        (b"#" * (MAX_FILE + 1), "no file of rules"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(content)
    document = read_rule_file(file)
    assert document.content is None
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(document.problem)


def test_a_file_that_was_named_must_be_there_and_the_homes_may_be_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert read_rule_documents([], optional=missing) == []
    (document,) = read_rule_documents([missing])
    assert document.origin == str(missing)
    assert "No such file" in str(document.problem)
    assert "take it out of rules_files" in str(document.problem)


def test_a_directory_stands_for_its_yaml_files_and_the_homes_file_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "rules.d"
    folder.mkdir()
    for name in ("b.yml", "a.yaml", "notes.txt"):
        (folder / name).write_text(f"[{{id: {name[0]}}}]")
    (tmp_path / "rules.yaml").write_text("[{id: home}]")
    found = read_rule_documents([folder], optional=tmp_path / "rules.yaml")
    assert [document.content for document in found] == [[{"id": "home"}], [{"id": "a"}], [{"id": "b"}]]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_directory_that_is_closed_to_us_is_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "rules.d"
    folder.mkdir(mode=0o000)
    assert "cannot be read" in str(read_rule_documents([folder])[0].problem)


def test_installed_packages_offer_rules_and_a_broken_one_is_a_problem(package: Path) -> None:
    found = {document.origin: document for document in read_rule_documents([])}
    assert found["entry point table of acme-rules"].content == {"rules": [{"id": "a"}]}
    assert found["entry point function of acme-rules"].content == [{"id": "b"}]
    for name in ("broken", "thrower"):
        problem = str(found[f"entry point {name} of acme-rules"].problem)
        assert problem.startswith("cannot be loaded (")
        assert problem.endswith("mend or uninstall acme-rules")
