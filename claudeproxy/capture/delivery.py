"""Hands a batch to the sink: together, and where that fails by a fault of ours, one exchange after the other.

Apart from `recorder`, which reads journals, because this is about who is to blame. A disk, a lock, a damaged file:
nobody's exchange is, so the whole batch waits and is tried again for as long as it takes. Anything else is a bug that
one of them brings out, and would stop all of them for ever: it is found by handing them on alone, and set aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError, UnstorableError
from claudeproxy.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.capture.batch import Batch
    from claudeproxy.capture.quarantine import Place
    from claudeproxy.model import RecordedExchange

    Sink = Callable[[Sequence[RecordedExchange], Mapping[str, tuple[int, int]]], object]

# A fault of ours comes again at once. What another process changed meanwhile is known by the second time.
ATTEMPTS = 3


class Delivery:
    """To one sink. ``set_aside(place, error)`` gets what it cannot take, and may raise nothing."""

    def __init__(self, sink: Sink, set_aside: Callable[[Place, Exception], object]) -> None:
        self._sink = sink
        self._set_aside = set_aside

    def hand(self, batch: Batch) -> None:
        """Give the sink everything in the batch but what it cannot take, then the cursors.

        Raises what the environment is to blame for: the batch is to be handed on again, and holds what is left.
        """
        if not batch.alone:
            try:
                self._hand(batch.exchanges, batch.cursors)
            except Exception as error:
                if not to_blame(error):
                    raise
                batch.alone = True
            else:
                return
        while batch.exchanges:
            exchange = batch.exchanges[0]
            try:
                self._hand([exchange], {})
            except Exception as error:
                if not to_blame(error):
                    raise
                if exchange.state is not State.IN_FLIGHT:  # of one that has not ended the end is still to come
                    self._set_aside(batch.places[exchange.correlation_id], error)
            batch.exchanges.pop(0)
        self._sink([], batch.cursors)

    def _hand(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._sink(exchanges, cursors)
            except Exception as error:
                if attempt == ATTEMPTS or not to_blame(error):
                    raise
            else:
                return


def to_blame(error: Exception) -> bool:
    """Whether an exception is about what was handed on, not about the place where it was to go."""
    if isinstance(error, StorageError):
        return isinstance(error, UnstorableError)
    return not isinstance(error, OSError | MemoryError)
