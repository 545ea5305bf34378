"""What a worker is told when it is started, and how it gets there: through a pipe, because it holds secrets.

Apart from `process`, which runs as a main module: what it defined itself would be another class than the sender's.
"""

from __future__ import annotations

import os
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.relaysettings import RelaySettings

_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is to do. Numbers are descriptors that it inherits; `worker` counts from 0."""

    settings: RelaySettings
    worker: int
    workers: int
    listeners: Sequence[int]
    board: int
    wake: int | None

    @property
    def descriptors(self) -> Sequence[int]:
        """What its process has to inherit."""
        return [*self.listeners, self.board, *(() if self.wake is None else (self.wake,))]

    def to_bytes(self) -> bytes:
        """For the pipe."""
        data = pickle.dumps(self)
        return _LENGTH.pack(len(data)) + data


def read_order(descriptor: int) -> Order | None:
    """What `Order.to_bytes` made; None when the other end was closed before all of it had come."""
    head = _read(descriptor, _LENGTH.size)
    data = head and _read(descriptor, _LENGTH.unpack(head)[0])
    order = pickle.loads(data) if data else None  # noqa: S301  (from the process that started us)
    assert order is None or isinstance(order, Order)
    return order


def _read(descriptor: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            return None
        data += more
    return data
