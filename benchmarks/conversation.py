"""What each turn of a long conversation costs the recorder, and what the whole of it weighs on disk.

    uv run benchmarks/conversation.py [--turns 200] [--rounds 3] [--answering S] [--json FILE] [--figure FILE]

The conversation of `claudeproxy.testing.long_conversation` (bodies from 60 KB to 1.3 MB, a subagent every 25 turns,
streamed answers, the bills of a simulated prompt cache) goes through tap and journal, one exchange after the other, to
the recorder as ``serve`` runs it, in this process. CPU is counted from a request's arrival in the journal until nothing
is left to do for it (`in flight`), and from its answer's end likewise (`ended`); what the relay does is not. An answer
takes `ANSWERING` seconds, so that each request is explained while it is in flight, as real ones are: an answer that
ends sooner is explained once, with its bill, and costs less (``--answering 0``).

A turn costs what is new in it and what it takes to find out what is new: `scan` is the rise of CPU with the body's
length over all turns of the main conversation, each of which brings about as much that is new, and `new` is the rest.
Of each exchange the cheapest of all rounds counts, which is the one that others disturbed the least, and turn N is the
median of the turns around it. Allowed are twice turn 2's CPU for a new byte, and a scan of the body at 200 MB/s. Tables
are weighed by ``dbstat`` after a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conversation_client import Client
from plot import Line, Panel, figure
from processes import machine
from sampling import slope
from weighing import weigh

from claudeproxy.logs import configure_logging
from claudeproxy.recording import REST_SECONDS, Recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.testing import long_conversation, prompt_fingerprints

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = (2, 50, 100, 200)
AROUND = 3  # turns before and after a named one that are looked at with it
SCAN = 200e6  # bytes a second that a scan may take
ANSWERING = 0.3  # seconds; `claudeproxy.following` waits for a quarter of a second
DISK_TARGET_MB = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One exchange: bytes of its request, of blocks in it that no request before had, of its answer; CPU in seconds."""

    number: int  # of the main conversation's turns, from 1; 0: a subagent's
    body: int
    new: int
    answer: int
    in_flight: float
    ended: float

    @property
    def brought(self) -> int:
        """Bytes that were never seen before."""
        return self.new + self.answer

    @property
    def cpu(self) -> float:
        """Seconds of the recorder's processor time."""
        return self.in_flight + self.ended


def record(turns: int, home: Path, *, answering: float = 0.0) -> list[Cost]:
    """Record a conversation of so many turns into ``home/captures.db``; what each exchange cost.

    :param answering: seconds from a request to its answer's end.
    """
    (home / "journal").mkdir(parents=True)
    settings = RecordingSettings(
        database=str(home / "captures.db"), journal=str(home / "journal"), fingerprints=prompt_fingerprints()
    )
    costs = []
    with closing(Recording(settings)) as recording, closing(recording.recorder):
        client, number = Client(home / "journal"), 0
        for turn in long_conversation(turns):
            number += turn.agent is None
            events = client.answer(turn)
            sending = client.send(turn, events)
            next(sending)
            in_flight = _finish(recording)
            if answering:
                time.sleep(answering)
                in_flight += _finish(recording)
            next(sending)
            ended = _finish(recording)
            costs.append(
                Cost(
                    number=0 if turn.agent else number, body=len(turn.body), new=client.new(turn.body),
                    answer=sum(map(len, events)), in_flight=in_flight, ended=ended,
                )
            )  # fmt: skip
        client.tap.writer.close()
        time.sleep(REST_SECONDS)  # until it gives free pages back
        _finish(recording)
        status = recording.status()
        assert (status["stored"], status["attribution_errors"], status["failures"]) == (len(costs), 0, 0), status
    return costs


def _finish(recording: Recording) -> float:
    """Go on as the recorder's main loop does until it would wait; the CPU that it took, in seconds."""
    began = time.process_time()
    while recording.recorder.step() or recording.idle():
        pass
    return time.process_time() - began


def around(costs: Sequence[Cost], number: int) -> list[Cost]:
    """The main conversation's turns near this one; of the first, which is new from end to end, there is no other."""
    last = max(cost.number for cost in costs)
    low, high = (2, 2 + 2 * AROUND) if number - AROUND < 2 else (number - AROUND, number + AROUND)
    if high > last:
        low, high = max(2, last - 2 * AROUND), last
    return [cost for cost in costs if low <= cost.number <= high]


def cheapest(rounds: Sequence[Sequence[Cost]]) -> list[Cost]:
    """Of each exchange the round that took the least."""
    return [min(same, key=lambda cost: cost.cpu) for same in zip(*rounds, strict=True)]


def summary(costs: Sequence[Cost]) -> dict[str, object]:
    """What the JSON file holds of CPU; milliseconds."""
    main = [cost for cost in costs if cost.number > 1]
    rate = slope([(cost.body, cost.cpu) for cost in main])  # seconds for a byte of body
    named = [number for number in NAMED if number <= max(cost.number for cost in costs)]
    per_new = _per_new(around(costs, 2))
    return {
        "scan_mb_per_second": 1e-6 / rate if rate > 0 else None,
        "ms_per_new_kb_at_turn_2": per_new * 1e6,
        "turns": [_row(number, around(costs, number), rate=rate, per_new=per_new) for number in named],
        "cpu_seconds_of_all": sum(cost.cpu for cost in costs),
        "bytes_sent": sum(cost.body for cost in costs),
        "bytes_new": sum(cost.new for cost in costs),
        "bytes_of_answers": sum(cost.answer for cost in costs),
    }


def _per_new(costs: Sequence[Cost]) -> float:
    return statistics.median(cost.cpu / cost.brought for cost in costs)


def _row(number: int, costs: Sequence[Cost], *, rate: float, per_new: float) -> dict[str, object]:
    body, brought = (statistics.median(getattr(cost, name) for cost in costs) for name in ("body", "brought"))
    cpu = statistics.median(cost.cpu for cost in costs)
    allowed = 2 * per_new * brought + body / SCAN
    return {
        "turn": number,
        "body_kb": body / 1000,
        "new_kb": brought / 1000,
        "cpu_ms": 1000 * cpu,
        "in_flight_ms": 1000 * statistics.median(cost.in_flight for cost in costs),
        "ended_ms": 1000 * statistics.median(cost.ended for cost in costs),
        "scan_ms": 1000 * rate * body,
        "new_ms": 1000 * (cpu - rate * body),
        "ms_per_new_kb": 1e6 * _per_new(costs),
        "allowed_ms": 1000 * allowed,
        "of_allowed": cpu / allowed,
    }


def table(found: dict[str, object]) -> str:
    """The rows for people."""
    rows = found["turns"]
    assert isinstance(rows, list)
    columns = list(rows[0])
    lines = ["".join(f"{name:>14}" for name in columns)]
    lines += ["".join(f"{row[n]:>14.2f}" if n != "turn" else f"{row[n]:>14}" for n in columns) for row in rows]
    return "\n".join(lines)


def picture(costs: Sequence[Cost]) -> str:
    """The figure: CPU of each turn, and what it may take."""
    main = [cost for cost in costs if cost.number > 1]
    per_new = _per_new(around(costs, 2))
    lines = [
        Line(name=name.replace("_", " "), points=[(cost.number, 1000 * getattr(cost, name)) for cost in main])
        for name in ("cpu", "in_flight", "ended")
    ]
    allowed = [(cost.number, 1000 * (2 * per_new * cost.brought + cost.body / SCAN)) for cost in main]
    panel = Panel(title="CPU of the recorder", x="turn", y="ms", lines=[*lines, Line(name="allowed", points=allowed)])
    return figure("Turns of a conversation whose bodies grow to 1.3 MB", [panel])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="times that the conversation is recorded, each anew")
    parser.add_argument("--answering", type=float, default=ANSWERING, help="seconds that an answer takes (0.3)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--figure", type=Path, help="where to draw CPU over turns (SVG)")
    parser.add_argument("--keep", type=Path, help="where to leave the database")
    parser.add_argument("--quick", action="store_true", help="a smoke run: 12 turns, once")
    args = parser.parse_args()
    turns, times = (12, 1) if args.quick else (args.turns, args.rounds)
    configure_logging(level="error")
    with tempfile.TemporaryDirectory() as scratch:
        record(3, Path(scratch) / "warm")  # the tokenizer and the rules are loaded
        homes = [Path(scratch) / str(number) for number in range(times)]
        rounds = [record(turns, home, answering=args.answering) for home in homes]
        disk = weigh(homes[-1] / "captures.db")
        if args.keep:
            shutil.copy(homes[-1] / "captures.db", args.keep)
    costs = cheapest(rounds)
    found = summary(costs)
    print(table(found))
    for name in ("scan_mb_per_second", "ms_per_new_kb_at_turn_2", "cpu_seconds_of_all"):
        print(f"{name:26} {found[name]!s:>10.8}")
    print(f"\nMB of the database (target {DISK_TARGET_MB} for 200 turns)")
    for name, size in disk.items():
        print(f"{name:26} {size:10.3f}")
    if args.figure:
        args.figure.write_text(picture(costs))
    if args.json:
        each = [asdict(cost) for cost in costs]
        whole = {
            "machine": machine(),
            "rounds": times,
            "answering": args.answering,
            **found,
            "disk_mb": disk,
            "exchanges": each,
        }
        args.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
