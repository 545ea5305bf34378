"""Prices asked of another process are those that this one would find."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from claudeproxy.accounting import asked
from claudeproxy.accounting.asked import AskedPrices
from claudeproxy.accounting.listed import listed_prices

DAY = date(2026, 3, 20)


@pytest.mark.parametrize(
    ("model", "context"),
    [("claude-opus-4-6", ()), ("claude-opus-4-6", (("speed", "fast"),)), ("claude-sonnet-4-5", ()), ("nobody-1", ())],
)
def test_the_answer_is_the_lists_own(model: str, context: tuple[tuple[str, str], ...]) -> None:
    assert AskedPrices()(model, "anthropic", DAY, context) == listed_prices(model, "anthropic", DAY, context)


def test_the_asking_process_never_loads_the_list() -> None:
    code = (
        "import sys; from datetime import date; from claudeproxy.accounting.asked import AskedPrices;"
        "assert AskedPrices()('claude-opus-4-6', 'anthropic', date(2026, 3, 20)) is not None;"
        "sys.exit(any(name in sys.modules for name in ('genai_prices', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_price_is_asked_for_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = AskedPrices()
    first = prices("claude-opus-4-6", "anthropic", DAY)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert prices("claude-opus-4-6", "anthropic", DAY) is first


def test_where_no_process_can_be_had_the_list_is_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = AskedPrices()("claude-opus-4-6", "anthropic", DAY)
    assert found is not None
    assert found == listed_prices("claude-opus-4-6", "anthropic", DAY)


def test_a_client_that_makes_up_models_starts_no_processes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come off the wire. Of the first ones of a day a process is asked, of the others this one."""
    monkeypatch.setattr(asked, "MOST", 1)
    prices = AskedPrices()
    assert prices("made-up-1", "anthropic", DAY) is None
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("another process"))
    assert prices("made-up-2", "anthropic", DAY) is None
    assert prices("claude-opus-4-6", "anthropic", DAY) is not None
