"""Documentation that is stale, or points at nothing, fails here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from claudeproxy.attribution.rules import Scope
from claudeproxy.attribution.userrules import read_rules

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CLAUDE.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reference/cli.md", "reference/configuration.md", "reference/rules.md"])
def test_a_page_made_from_the_code_is_what_the_code_says_now(name: str) -> None:
    made = generator().PAGES[name]()
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made, "run `uv run python docs/generate.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        assert (page.parent / target.partition("#")[0]).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_pages_exist(page: Path) -> None:
    """Each `claudeproxy VERB` in a console block is a command that answers to --help."""
    from claudeproxy_cli.main import COMMANDS

    for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for verb in re.findall(r"(?:^|[\s(])claudeproxy ([a-z-]+)", block):
            if not verb.startswith("-"):
                assert verb in COMMANDS, f"{page.relative_to(ROOT)}: claudeproxy {verb}"


def test_every_rule_in_the_guide_holds() -> None:
    """Readers copy them."""
    page = (ROOT / "docs/howto/write-a-rule.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    rules = [rule for block in blocks for rule in yaml.safe_load(block)["rules"]]
    found, problems = read_rules("docs/howto/write-a-rule.md", rules)
    assert problems == []
    assert {rule.scope for rule in found} == set(Scope)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs_as_it_stands(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CLAUDEPROXY_HOME": str(tmp_path / "home")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = re.findall(r"^# prints: (.+)$", example.read_text(encoding="utf-8"), re.MULTILINE)
    assert expected, "an example says what it prints, in lines that begin with `# prints:`"
    for line in expected:
        assert line in done.stdout
