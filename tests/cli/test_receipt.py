from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from claudeproxy.capture.pause import PauseFile
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.config.home import Home
from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.client_settings import Shadow
from claudeproxy_cli.receipt import (
    Receipt,
    likely_cause,
    nothing_captured,
    read_receipt,
    relayed_by,
    wait_until_recorded,
    wait_until_settled,
)
from tests.cli.support import MINUTE, START, altered, fill

HOME = Home(path=Path("/a home"))


def test_a_receipt_is_three_lines() -> None:
    receipt = Receipt(
        estimated=True,
        requests=2,
        failed=0,
        sent=48_210,
        received=1204,
        sources=(("Framework", 30_000), ("MCP: do\x1bcs", 10_000), ("Memory", 5000), ("User", 3210)),
        largest="3fa9c2d1-0000-4000-8000-000000000000",
    )
    look = "query --home '/a home' --since 2026-11-18T11:06:40Z"
    assert receipt.lines(home=HOME, since=START, seconds=42) == [
        "claudeproxy: 2 requests, ~48,210 tokens sent, 1,204 received, in 42s",
        "  largest sources: 62% Framework, 21% MCP: docs, 10% Memory",
        f"  look closer: claudeproxy show --home '/a home' 3fa9c2d1, {look}",
    ]


def test_a_receipt_says_what_it_cost_and_what_has_no_price() -> None:
    receipt = Receipt(requests=3, failed=0, sent=10, received=1, sources=(), largest=None, cost=28_400_000_000)

    def second(changed: Receipt) -> str:
        return changed.lines(home=HOME, since=START, seconds=1)[1]

    assert "3 requests, 10 tokens sent" in receipt.lines(home=HOME, since=START, seconds=1)[0]
    assert second(receipt) == "  cost: $0.0284"
    assert second(replace(receipt, subscription=True)) == "  cost: $0.0284 (API equivalent)"
    assert second(replace(receipt, unpriced=1)) == "  cost: $0.0284, and 1 request whose price is unknown"
    assert second(replace(receipt, cost=None, unpriced=2)) == "  cost: price unknown"
    assert "largest sources" in second(replace(receipt, cost=None))


def test_an_ordinary_receipt_fits_a_terminal_and_its_commands_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a checkout the command is on no PATH: what is suggested is what was typed."""
    sources = (("Tool: Workflow", 1263), ("Tool: Agent", 1113), ("Tool: ScheduleWakeup", 1096), ("User", 8144))
    receipt = Receipt(requests=10, failed=9, sent=11_616, received=4, sources=sources, largest="d68913e8")
    monkeypatch.setenv("CLAUDEPROXY_HOME", str(HOME.path))
    assert max(map(len, receipt.lines(home=HOME, since=START, seconds=2.6))) <= 80
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert "uv run claudeproxy show d68913e8" in receipt.lines(home=HOME, since=START, seconds=2.6)[2]


def test_failures_are_counted_and_a_receipt_without_sources_says_so() -> None:
    receipt = Receipt(requests=1, failed=1, sent=0, received=0, sources=(("Overhead", 0),), largest=None)
    first, second, third = receipt.lines(home=HOME, since=START, seconds=1)
    assert "1 request (1 failed)," in first
    assert second == "  largest sources: none (no prompt was sent)"
    assert "not attributed yet" in replace(receipt, settled=False).lines(home=HOME, since=START, seconds=1)[1]
    assert "show" not in third


def test_a_runs_requests_are_those_that_began_while_it_ran(captured: Path) -> None:
    with CaptureStorage(captured / "captures.db", read_only=True) as storage:
        whole = read_receipt(storage, START, [1])
        last = read_receipt(storage, START + 8 * MINUTE, [1])
        none = read_receipt(storage, START + 60 * MINUTE, [1])
        newest = storage.get_request(last.largest or "")
    assert (whole.requests, whole.failed, whole.received) == (10, 0, sum(range(100, 110)))
    assert whole.sent == sum(tokens for _, tokens in whole.sources)
    assert last.requests == 2
    assert newest.timestamp == START + 9 * MINUTE
    assert whole.estimated
    assert none == Receipt(requests=0, failed=0, sent=0, received=0, sources=(), largest=None)


def test_failed_exchanges_are_counted(home: Path) -> None:
    fill(home, [altered(0), altered(1, state=State.ABORTED_BY_CLIENT)])
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        assert read_receipt(storage, START, [1]).failed == 1


@pytest.mark.parametrize(
    ("path", "changes", "failed"),
    [
        ("/api/claude_code/settings", {"status_code": 404}, 0),
        ("/api/claude_code/settings", {"status_code": 403}, 1),
        ("/v1/messages/count_tokens?beta=true", {"status_code": 404}, 1),
        ("/v1/messages", {"status_code": 404}, 1),
    ],
)
def test_settings_that_an_account_does_not_have_are_no_failure(
    home: Path, path: str, changes: dict[str, int], failed: int
) -> None:
    answer = replace(altered(1).response, **changes)  # type: ignore[type-var]
    fill(home, [altered(0), altered(1, url=f"https://api.anthropic.com{path}", response=answer)])
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        assert read_receipt(storage, START, [1]).failed == failed


def test_of_several_proxies_only_ones_own_requests_count(home: Path) -> None:
    fill(home, [altered(0, owner="20261122T220000-100-aa"), altered(1, owner="20261122T220000-200-bb")])
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        assert read_receipt(storage, START, [100]).received == 100
        assert read_receipt(storage, START, [200]).received == 101
        assert read_receipt(storage, START, [300]).requests == 0
        assert read_receipt(storage, START, [100, 200]).requests == 2
    assert relayed_by("anything", [1])


def test_what_is_left_in_the_journal_is_waited_for(tmp_path: Path) -> None:
    wait_until_recorded(tmp_path / "missing", [100], seconds=60)
    (tmp_path / "20261122T220000-200-bb").mkdir()
    wait_until_recorded(tmp_path, [100], seconds=60)
    began = time.monotonic()
    wait_until_recorded(tmp_path, [200], seconds=0.1)
    assert time.monotonic() - began >= 0.1


def test_what_is_stored_and_explained_is_not_waited_for(captured: Path) -> None:
    with CaptureStorage(captured / "captures.db", read_only=True) as storage:
        began = time.monotonic()
        wait_until_settled(storage, START, [1], seconds=60)
        assert time.monotonic() - began < 30


def test_what_never_ends_is_waited_for_so_long_and_no_longer(home: Path) -> None:
    fill(home, [altered(0, state=State.IN_FLIGHT, response=None)])
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        began = time.monotonic()
        wait_until_settled(storage, START, [1], seconds=0.1)
        assert 0.1 <= time.monotonic() - began < 30


@pytest.fixture
def config(home: Path) -> ClaudeProxyConfig:
    return ClaudeProxyConfig.isolated(home=home)


def _cause(config: ClaudeProxyConfig, *shadows: Shadow, reverse: bool = False, **environment: str) -> str:
    return " | ".join(likely_cause(config, environment, shadows, reverse=reverse))


def _shadow(name: str, value: str = "x") -> Shadow:
    return Shadow(path=Path("/p/.claude/settings.json"), name=name, value=value)


def test_a_pause_is_a_sure_cause(home: Path, config: ClaudeProxyConfig) -> None:
    home.mkdir()
    PauseFile(config.paths.pause_file).pause(now=START, until=None)
    assert _cause(config) == "capture is paused | `claudeproxy resume` ends it"


def test_a_switch_that_is_off_is_the_surest_cause(home: Path) -> None:
    config = ClaudeProxyConfig.isolated(home=home, capture_enabled=False)
    assert "capture_enabled is false" in _cause(config, _shadow("HTTPS_PROXY"))
    assert "enabled: true" in _cause(ClaudeProxyConfig.isolated(home=home, enabled=False))


def test_a_settings_file_that_overrides_ours_is_named(config: ClaudeProxyConfig) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "ANTHROPIC_BASE_URL", "NODE_EXTRA_CA_CERTS"):
        assert f"/p/.claude/settings.json sets {name}" in _cause(config, _shadow(name))
    assert "settings.json" not in _cause(config, _shadow("CLAUDE_CODE_CERT_STORE"))


def test_a_cloud_provider_is_named_wherever_it_is_set(config: ClaudeProxyConfig) -> None:
    assert "Amazon Bedrock" in _cause(config, CLAUDE_CODE_USE_BEDROCK="1")
    assert "Google Vertex AI" in _cause(config, _shadow("CLAUDE_CODE_USE_VERTEX", "true"))
    assert "Vertex" not in _cause(config, CLAUDE_CODE_USE_VERTEX="0")


def test_a_gateway_is_named_and_reverse_mode_recommended(config: ClaudeProxyConfig) -> None:
    cause = _cause(config, ANTHROPIC_BASE_URL="https://gateway.example/a")
    assert "gateway.example" in cause
    assert "--reverse" in cause
    assert "gateway" not in _cause(config, ANTHROPIC_BASE_URL="https://api.anthropic.com")


def test_otherwise_the_other_way_is_recommended(config: ClaudeProxyConfig) -> None:
    assert "ignores proxies" in _cause(config)
    assert "try without --reverse" in _cause(config, reverse=True)


def test_nothing_captured_is_three_lines_too(config: ClaudeProxyConfig) -> None:
    lines = nothing_captured(config, {}, [_shadow("NO_PROXY")], reverse=False)
    assert lines[0] == "claudeproxy: nothing was captured"
    assert [line.split(":")[0] for line in lines[1:]] == ["  likely cause", "  remedy"]
