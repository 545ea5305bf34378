"""Counts the lines of the product that a thread executes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import claudeproxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_OURS = str(Path(claudeproxy.__file__).parent)


class Lines:
    """A context manager; `count` is how many lines ran inside it, in this thread and in modules of ours."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.settrace(self._enter)  # a task that is waiting already is entered anew when it goes on
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        return self._line if frame.f_code.co_filename.startswith(_OURS) else None

    def _line(self, _frame: FrameType, event: str, _: object) -> Callable[..., object]:
        if event == "line":
            self.count += 1
        return self._line
