from __future__ import annotations

import json
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads the annotations when it runs)
from typing import Annotated

import pytest
import typer
from typer.core import TyperOption

from claudeproxy_cli.main import main
from claudeproxy_cli.parameters import read_plainly


class Color(StrEnum):
    RED = "red"


def ask(callback: object) -> object:
    """What a callback makes of the value it was given."""
    return None if callback is None else f"<{callback}>"


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def command(
    text: str,
    more: Annotated[str | None, typer.Argument()] = None,
    number: Annotated[int, typer.Option(min=1, max=20)] = 7,
    path: Annotated[Path | None, typer.Option()] = None,
    share: Annotated[float | None, typer.Option()] = None,
    color: Annotated[Color | None, typer.Option()] = None,
    flag: Annotated[bool, typer.Option("--flag")] = False,
    several: Annotated[list[str] | None, typer.Option()] = None,
    called: Annotated[str | None, typer.Option(callback=ask)] = None,
) -> None:
    values = (text, more, number, path, share, color, flag, several, called)
    print([(type(value).__name__, str(value)) for value in values])


def outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    try:
        app(args=arguments, prog_name="x")
    except SystemExit as leaving:
        said = capsys.readouterr()
        return leaving.code, said.out, said.err
    raise AssertionError("Typer leaves with SystemExit")


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "",
        "a b --flag --several x --several y",
        "a --number 1",
        "a --number 0",
        "a --number 21",
        "a --number 007",
        "a --number -3",
        "a --number +3",
        "a --number 1_0",
        "a --number 3.0",
        "a --number ²",
        "a --number zwölf",
        "a --path . --share 0.5",
        "a --path /nowhere/at/all --color red",
        "a --share x",
        "a --color blue",
        "grüße --called me",
        "a --called",
        "\udcff",
        "a \x1b[31m --path \udcff",
    ],
)
def test_a_value_is_what_typer_makes_of_it_and_a_mistake_is_told_in_its_words(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_plainly()
    plain = outcome(line.split(" ") if line else [], capsys)
    with monkeypatch.context() as patch:
        for kind in (typer.core.TyperOption, typer.core.TyperArgument):
            patch.delattr(kind, "process_value")
        assert outcome(line.split(" ") if line else [], capsys) == plain


def test_a_path_that_may_not_be_read_is_told_by_typer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_plainly()
    closed = tmp_path / "closed"
    closed.touch(0o000)
    if os.access(closed, os.R_OK):
        pytest.skip("this user may read everything")
    code, _, error = outcome(["a", "--path", str(closed)], capsys)
    assert (code, "not readable" in error) == (2, True)


def test_saying_it_again_changes_nothing() -> None:
    read_plainly()
    reading = TyperOption.process_value
    read_plainly()
    assert TyperOption.process_value is reading


def test_what_is_plain_loads_no_pydantic(captured: Path) -> None:
    """And what is not, does: the test would notice if Typer did without."""
    code = "import sys; from claudeproxy_cli.main import main; main(sys.argv[1:]);"
    code += "sys.exit(str('pydantic' in sys.modules))"
    found = []
    for given in (["--limit", "3", "--grep", "wörter", "--since", "2d", "--json"], ["--limit", "+3"]):
        line = [sys.executable, "-c", code, "query", "--home", str(captured), *given]
        found.append(subprocess.run(line, capture_output=True, text=True, check=False).stderr.splitlines()[-1])
    assert found == ["False", "True"]


def test_a_number_that_is_given_reaches_the_command(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--limit", "2", "--json", "--home", str(captured)]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
