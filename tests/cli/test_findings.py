from __future__ import annotations

from pathlib import Path

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy_cli.findings import Check, Context, Status


def test_the_context_knows_its_home(home: Path) -> None:
    context = Context(
        config=ClaudeProxyConfig.isolated(home=home), config_file=None, environment={}, directory=Path.cwd()
    )
    assert context.home.path == home


def test_a_finding_needs_no_remedy() -> None:
    assert Check(name="x", status=Status.OK, detail="fine").remedy is None
