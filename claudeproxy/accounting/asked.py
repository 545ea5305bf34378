"""Listed prices from a process that ends when it has answered: genai-prices stays in nobody's memory.

Apart from `listed`, which is what that process runs: the list with pydantic and an HTTP client beside it is 17 MB, a
fifth of an idle recorder, and is asked once a day for each model. Where no process can be had, and where more is asked
in a day than a person has models (names come off the wire), this process looks itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from claudeproxy.accounting.listed import ListedPrices, PriceClass, listed_prices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.accounting.listed import Variants

PATIENCE = 10.0  # seconds; it takes half of one, and the database may be locked for others meanwhile
MOST = 24  # processes for the prices of one day


class AskedPrices:
    """Looks models up as `listed.listed_prices` does. Waits half a second for what it was not asked that day.

    Prices of one day are remembered. Not thread-safe.
    """

    def __init__(self) -> None:
        self._day: date | None = None
        self._known: dict[tuple[str, str, Variants], ListedPrices | None] = {}

    def __call__(self, model: str, provider: str, day: date, context: Variants = ()) -> ListedPrices | None:
        """Return a model's prices on that day; None when it is not listed."""
        if day != self._day:
            self._day, self._known = day, {}
        key = (model, provider, context)
        if key not in self._known:
            if len(self._known) >= MOST:
                return listed_prices(model, provider, day, context)
            self._known[key] = _ask(model, provider, day, context)
        return self._known[key]


def _ask(model: str, provider: str, day: date, context: Variants) -> ListedPrices | None:
    question = json.dumps([model, provider, day.isoformat(), context])
    try:
        done = subprocess.run(
            # -P: without it `-m` looks for modules in the directory we stand in, and that is somebody's project.
            [sys.executable, "-P", "-m", "claudeproxy.accounting.asked", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=True,
        )
        return _read(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return listed_prices(model, provider, day, context)


def main(question: str) -> int:
    """The process: a question as its argument, the answer on standard output; null where it is not listed."""
    model, provider, day, context = json.loads(question)
    found = listed_prices(model, provider, date.fromisoformat(day), tuple((key, value) for key, value in context))
    print(json.dumps(None if found is None else _written(found)))  # noqa: T201 (to the process that asked)
    return 0


def _written(found: ListedPrices) -> dict[str, object]:
    steps = {kind: [(start, str(price)) for start, price in steps] for kind, steps in found.steps.items()}
    return {"model": found.model, "source": found.source, "steps": steps}


def _read(found: Mapping[str, object] | None) -> ListedPrices | None:
    if found is None:
        return None
    steps = found["steps"]
    assert isinstance(steps, dict)
    return ListedPrices(
        str(found["model"]),
        str(found["source"]),
        {PriceClass(kind): tuple((start, Decimal(price)) for start, price in pairs) for kind, pairs in steps.items()},
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
