"""A prompt's account laid over the path that the store has of it.

Apart from `accounts`, which writes it down, because here it is decided what becomes of blocks that are no nodes or have
no segments: their tokens belong to no block. Pure, no database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.model import Accuracy
from claudeproxy.store.numbers import ACCURACIES, ESTIMATED, SHARED, pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.model import Account
    from claudeproxy.store.skeleton import PathStep

_LABELS = {label: index for index, label in enumerate(ACCURACIES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A prompt's numbers laid over its path: `packed` of each block, tokens of no block, what loose segments share."""

    packed: Sequence[int]
    before: int
    unseen: int
    after: int
    rest: int
    label: int  # of what belongs to no block

    @classmethod
    def of(cls, path: Sequence[PathStep], account: Account) -> Laid:
        """Lay an account over a path. Blocks that are no nodes (a body stored whole) leave their tokens to the rest.

        Tokens of a block without segments (a masked one) belong to no block.
        """
        blocks, labels, after = list(account.blocks), account.accuracy, account.after
        if len(blocks) != len(path):
            blocks, labels = [0] * len(path), (Accuracy.EXACT,) * len(path)
        for index in [index for index, step in enumerate(path) if step.explanation is None]:
            after += blocks[index]
            blocks[index] = 0
        rest = account.total - account.before - account.unseen - after - sum(blocks)
        return cls(
            packed=list(map(pack, blocks, map(_LABELS.__getitem__, labels))),
            before=account.before,
            unseen=account.unseen,
            after=after,
            rest=rest,
            label=SHARED if account.counted and not account.unseen else ESTIMATED,
        )
