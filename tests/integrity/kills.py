"""`kill -9` at moments chosen by chance: the proxy, its recorder, both, and whatever rewrites the database.

    uv run python -m tests.integrity.kills --trials 200 [--seed N] [--write]

Under load, through CONNECT and as a base URL. After each kill the proxy is started again on the same home, and all of
this must hold: every request that reached the upstream is in the record once; every byte that a client got is the
beginning of the recorded answer (of those of the last second too, although only older ones are promised: the journal
survives the process, not the machine); what was open is `interrupted`; `verify()` and SQLite's own check find nothing;
all sums are those of what they are the sums of. The seed chooses victims and moments, the machine decides what happens
in them. `--write` puts the figure into the page.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing import Pace, says, text
from claudeproxy.testing.scripts import Replies
from tests.integrity.page import KILLS
from tests.integrity.rewriters import REWRITERS, kill_rewriter
from tests.integrity.victims import Load, journals_read, kill, recorder_pid
from tests.support.service import command_serving, mocking, stop

if TYPE_CHECKING:
    from claudeproxy.testing import MockUpstream
    from tests.support.service import Running

PROCESSES = ("proxy", "recorder", "both")
LIVES = 10  # trials on one home, one after the other: what a kill leaves is there at the next
LONGEST = 1.6  # seconds of load before a kill


@dataclass(kw_only=True)
class Tally:
    """What was tried, and what was seen."""

    seed: int
    victims: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    open: int = 0  # at the moment of a kill
    bytes: int = 0  # that clients had received

    @property
    def trials(self) -> int:
        """Kills."""
        return sum(self.victims.values())


async def run(trials: int, seed: int, home: Path, tally: Tally | None = None, lanes: int = 1) -> Tally:
    """Run trials, homes under `home`, in some lanes side by side. AssertionError says what did not hold, and where."""
    tally = tally or Tally(seed=seed)
    async with trio.open_nursery() as nursery:
        for lane in range(lanes):
            count = trials // lanes + (lane < trials % lanes)
            nursery.start_soon(_lane, count, random.Random(f"{seed} {lane}"), home / f"lane-{lane}", tally)
    return tally


async def _lane(trials: int, chance: random.Random, home: Path, tally: Tally) -> None:
    home.mkdir()
    script = Replies().on(says("slow"), text("Byte after byte. " * 120, pace=Pace(delay=0.02)))
    script = script.on(lambda _: True, text("Answered. " * 30))
    async with mocking(script) as mock:
        for first in range(0, trials, LIVES):
            await _one_home(home / f"home-{first}", mock, chance, min(LIVES, trials - first), tally)


async def _one_home(home: Path, mock: MockUpstream, chance: random.Random, lives: int, tally: Tally) -> None:
    victim, load = "", Load()
    for _ in range(lives):
        async with command_serving(home, mock.url) as running:
            if victim:
                await _after(running, mock, load, victim, tally)
            load, victim = Load(), chance.choice([*PROCESSES, *PROCESSES, *REWRITERS])
            mock.received.clear()
            await _kill_under_load(running, load, victim, chance, tally)
    async with command_serving(home, mock.url) as running:
        await _after(running, mock, load, victim, tally)
        await stop(running)


async def _kill_under_load(running: Running, load: Load, victim: str, chance: random.Random, tally: Tally) -> None:
    """Have clients ask until the kill; a recorder or a rewriter that is killed must not concern them."""
    moment = chance.uniform(0.05, LONGEST)
    async with trio.open_nursery() as nursery:
        for number in range(load.CLIENTS):
            nursery.start_soon(load.ask, running, number)
        await load.wait_begun()
        if victim in REWRITERS:
            await kill_rewriter(running.home, victim, moment)
        else:
            await trio.sleep(moment)
            tally.open += load.open
            await kill(running, victim)
        if victim in {"proxy", "both"}:
            assert running.process is not None
            await running.process.wait()
        else:
            load.ending = True  # what is open goes to its end: nobody noticed anything
    tally.victims[victim] += 1
    tally.requests += len(load.answers)
    tally.bytes += sum(map(len, load.answers.values()))
    if victim not in {"proxy", "both"}:
        assert load.broken == 0, f"trial {tally.trials}: {load.broken} clients noticed the death of the {victim}"
        await recorder_pid(running)  # there is one again
        await stop(running)


async def _after(running: Running, mock: MockUpstream, load: Load, victim: str, tally: Tally) -> None:
    """Everything that must hold when the service is there again."""
    await journals_read(running.home)
    reached = {request.body for request in mock.messages}
    told = f"trial {tally.trials} (seed {tally.seed}, killed: {victim})"
    await trio.to_thread.run_sync(load.check, running.home, reached, victim, told)


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.integrity.kills")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--lanes", type=int, default=2, help="as many services at a time")
    parser.add_argument("--write", action="store_true", help="put the figure into docs/reference/capture-integrity.md")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    tally = Tally(seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:

        async def with_progress() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_progress, tally)
                await run(options.trials, options.seed, Path(folder), tally, options.lanes)
                nursery.cancel_scope.cancel()

        trio.run(with_progress)
    figure = {
        "trials": tally.trials,
        "victims": dict(sorted(tally.victims.items())),
        "requests": tally.requests,
        "open": tally.open,
        "megabytes": round(tally.bytes / 1e6, 1),
        "seed": tally.seed,
    }
    print(json.dumps(figure))
    if options.write:
        KILLS.write_text(json.dumps(figure, indent=2) + "\n", encoding="ascii")
        print(f"{KILLS.name} written: run `uv run python -m tests.integrity` for the page")
    return 0


async def _progress(tally: Tally) -> None:
    while True:
        await trio.sleep(20)
        print(f"{tally.trials} trials, {tally.requests} requests", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
