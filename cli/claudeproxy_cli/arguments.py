"""Texts of a command line as values: times, types, states, answers. What cannot be meant is a usage error (code 2).

Apart from `options`, which says what there is to give, because this says what somebody meant by it.
"""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING

import typer

from claudeproxy_cli.render import note
from claudeproxy_cli.times import TimeSyntaxError, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def moment(option: str, text: str | None, now: datetime, *, end: bool = False) -> int | None:
    """The instant that is meant, ns since the epoch; with `end` as an exclusive bound. Raises BadParameter."""
    try:
        # The store's bound is exclusive, the day's last nanosecond is not.
        return None if text is None else parse_time(text, now=now, end=end) + end
    except TimeSyntaxError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def period(since: str | None, until: str | None, now: datetime) -> tuple[int | None, int | None]:
    """What --since and --until mean, the second as an exclusive bound. Raises BadParameter, also for no time at all."""
    begin, end = moment("--since", since, now), moment("--until", until, now, end=True)
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter("it is not before the end of the time", param_hint="--since")
    return begin, end


def source_type(text: str | None) -> str | None:
    """A type of source, by whatever case and hyphens. Raises BadParameter."""
    from claudeproxy.model import SourceType

    return None if text is None else choice("--type", text, [str(kind) for kind in SourceType])


def state(text: str | None) -> str | None:
    """A state of an exchange, likewise. Raises BadParameter."""
    from claudeproxy.model import State

    return None if text is None else choice("--state", text, [str(state) for state in State])


def choice(option: str, text: str, allowed: Iterable[str]) -> str:
    """The allowed word that is meant, whatever its case and hyphens. Raises BadParameter with the nearest."""
    words = {word.lower().replace("_", ""): word for word in allowed}
    given = text.lower().replace("-", "").replace("_", "")
    if given in words:
        return words[given]
    near = [word for word in words if given and word.startswith(given)] or difflib.get_close_matches(given, words, n=1)
    meant = f"did you mean {words[near[0]]}?" if near else f"one of {', '.join(words.values())}"
    raise typer.BadParameter(f"{text!r} is unknown: {meant}", param_hint=option)


def amount(option: str, text: str) -> int:
    """Dollars that somebody wrote (``0.50``, ``$2``), in pico-dollars. Raises BadParameter."""
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value < 1_000_000:
        raise typer.BadParameter(f"{text!r} is no amount: write dollars, such as 0.50", param_hint=option)
    return int(value.scaleb(12))


def ask(question: str) -> None:
    """Leave unless the answer is yes. Not typer.confirm, which takes Ctrl-C for a no."""
    print(question, end="", flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        note("nothing was changed")
        raise typer.Exit(1)
