"""The ledger's answers: how many tokens each block of a request has, before the bill and after it.

Apart so that those who only read the numbers need not load what makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.model import Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """A prompt's tokens in prompt order: `before`, each block, `after`. Their sum is `total`, always."""

    total: int
    before: int  # what the API adds before the first block: its preamble to the tools
    blocks: tuple[int, ...]  # aligned with `sansio.messages.layout(body).blocks`
    after: int  # and after the last: the opening of the answer
    accuracy: tuple[Accuracy, ...]  # of each block
    dropped: tuple[bool, ...]  # blocks that the model does not see and nobody pays: old thinking, deferred tools, ...

    @property
    def overhead(self) -> int:
        """Tokens of no block: the source "API overhead"."""
        return self.before + self.after

    @property
    def pieces(self) -> tuple[int, ...]:
        """Everything in prompt order, as `costs.prompt_costs` wants it: before, the blocks, after."""
        return (self.before, *self.blocks, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(PromptTokens):
    """What a prompt will be billed. `error` is the expected relative error of `total`."""

    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(PromptTokens):
    """What a prompt was billed."""

    billed: bool  # False: there was no bill, these are predictions
    learned: bool  # the ledger took it in
