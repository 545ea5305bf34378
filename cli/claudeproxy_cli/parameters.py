"""Reads parameters of the command line without pydantic, where nothing about a value can be wrong.

Typer has pydantic read every parameter, those that nobody gave too, and loading it took longer than all else that
``claudeproxy query`` loads. What was not given, a text that is wanted as a text, a whole number within its bounds and a
path that may be read are what they are. Everything else goes Typer's way, for its checks and its messages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click import Context

_DOUBTFUL: Final = object()  # in place of a value: Typer may say what it is


def read_plainly() -> None:
    """Have Typer read parameters so, from now on and in all of this process; may be called again."""
    # Typer makes parameters of these two classes, whatever class it is told that a command has.
    for kind in (TyperOption, TyperArgument):
        if "process_value" not in vars(kind):
            kind.process_value = _reading(kind.process_value)  # type: ignore[method-assign]


def _reading(typers: Callable[..., Any]) -> Callable[..., Any]:
    def process_value(self: TyperOption | TyperArgument, ctx: Context, value: Any) -> Any:
        plain = _plain(self, value)
        if plain is _DOUBTFUL:
            return typers(self, ctx, value)
        return plain if self.callback is None else self.callback(ctx, self, plain)

    return process_value


def _plain(parameter: TyperOption | TyperArgument, value: object) -> object:
    """The value that the command's function gets, or `_DOUBTFUL`."""
    described = getattr(parameter, "type_descriptor", None)  # a Typer without it is one without pydantic
    if described is None or parameter.nargs != 1 or parameter.multiple:
        return _DOUBTFUL
    if value is None:
        return _DOUBTFUL if parameter.required else None
    wanted = described.annotation
    if wanted is int:
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
        return number if type(number) is int and _within(number, parameter.min, parameter.max) else _DOUBTFUL
    if not isinstance(value, str) or not value.isprintable():  # bytes that are no UTF-8 come as what is not printable
        return _DOUBTFUL
    if wanted is str:
        return value
    if wanted is Path and (os.access(value, os.R_OK) or not os.path.lexists(value)):
        return Path(value)
    return _DOUBTFUL


def _within(number: int, least: float | None, most: float | None) -> bool:
    return (least is None or least <= number) and (most is None or number <= most)
