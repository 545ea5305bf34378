"""Runs of messages between the model's answers, and the memory of what part their blocks play.

Apart from `conversation`, which finds that out, because a turn keeps its meaning while the conversation grows: what it
depends on is its key here, and whoever makes it depend on more must put that into the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from claudeproxy.attribution.remembered import Remembered
    from claudeproxy.attribution.scene import Place
    from claudeproxy.attribution.views import BlockView, ToolUse

TurnMemory: TypeAlias = "Remembered[tuple[object, ...], tuple[Place, ...]]"
KEY_BYTES = 1024  # what one remembered place holds, about


@dataclass(slots=True)
class Message:
    """One message's blocks, which stand one after the other."""

    role: str
    start: int  # position of the first in the layout's blocks
    views: list[BlockView] = field(default_factory=list)

    @property
    def positions(self) -> range:
        """Where its blocks stand among the layout's."""
        return range(self.start, self.start + len(self.views))


def turns(messages: Iterable[Message]) -> Iterable[list[Message]]:
    """Yield runs of messages: each assistant message alone, everything between two of them together."""
    run: list[Message] = []
    for message in messages:
        if message.role == "assistant":
            if run:
                yield run
            yield [message]
            run = []
        else:
            run.append(message)
    if run:
        yield run


def turn_key(turn: list[Message], uses: Mapping[str, ToolUse], *rest: object) -> tuple[object, ...]:
    """Return all that the places of a turn depend on: its bytes, the calls that it answers, and `rest`."""
    parts: list[object] = [*rest]
    for message in turn:
        parts.append(message.role)
        parts += [view.digest for view in message.views]
        parts += [uses.get(view.answers) for view in message.views if view.answers is not None]
    return tuple(parts)
