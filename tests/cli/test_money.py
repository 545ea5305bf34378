from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import Usage
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from claudeproxy_cli.money import fine_price, told_output, told_prompt, with_payment
from tests.cli.billed import fill_billed
from tests.cli.support import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("money")
    return home, fill_billed(home)


@pytest.mark.parametrize(
    ("subscribed", "said"),
    [
        ("0", None),
        ("1", "costs are API equivalent: a subscription paid"),
        ("n % 2", "some costs are API equivalent: a subscription paid"),
    ],
)
def test_tables_say_what_their_dollars_are(
    billed: tuple[Path, str], home: Path, capsys: Capsys, subscribed: str, said: str | None
) -> None:
    filled, session = billed
    shutil.copytree(filled, home)
    with CaptureStorage(home / "captures.db") as storage, storage.writing() as connection:
        connection.execute(f"UPDATE requests SET subscription = {subscribed}")
    for command in ("sources", "query"):
        _, text = on_terminal(command, "--home", home, env={"NO_COLOR": "1"})
        assert ("API equivalent" in text) == (said is not None)
        assert said is None or said in text
    for more in ((), ("--carried",)):
        _, text = on_terminal("sessions", "--home", home, session, *more)
        assert ("API equivalent)" in text) == (said is not None)
    main(["sources", "--home", str(home), "--json"])
    assert "API equivalent" not in capsys.readouterr().err


def test_a_part_of_a_request_is_shown_to_a_millionth_of_a_dollar() -> None:
    shown = [fine_price(one) for one in ("0.000052", "0.0099999", "0.01", "0.0000001", "0", None)]
    assert shown == ["$0.000052", "$0.010000", "$0.0100", "<$0.000001", "$0.00", "-"]


def test_a_bills_prompt_is_told_in_its_order() -> None:
    usage = Usage(
        input_tokens=340,
        cache_read_input_tokens=81_204,
        cache_creation_input_tokens=1_260,
        cache_creation_5m=1_200,
        cache_creation_1h=60,
        output_tokens=391,
        thinking_tokens=120,
    )
    assert told_prompt(usage) == "81,204 read from the cache, 60 written (1h), 1,200 written (5m), 340 uncached"
    assert told_output(usage) == "391 output, 120 of it thinking"
    unsplit = replace(usage, cache_creation_5m=None, cache_creation_1h=None, thinking_tokens=None)
    assert told_prompt(unsplit) == "81,204 read from the cache, 1,260 written, 340 uncached"
    assert (told_prompt(Usage()), told_output(Usage())) == ("", "")


def test_a_cost_is_called_what_it_is() -> None:
    assert with_payment("$1.00", subscription=False) == "$1.00"
    assert with_payment("$1.00", subscription=True) == "$1.00 (API equivalent)"
