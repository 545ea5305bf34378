"""Where relay and recorder spend their time, as flame graphs: figures/relay.svg and figures/recorder.svg.

    uv run benchmarks/flamegraph.py [--seconds 20] [--to benchmarks/figures]

`CLIENTS` clients come by CONNECT, with TLS on both legs and full capture, and send requests of 100 KB of which the last
result is new; half of the answers are one document, half a burst of 100 events. Meanwhile py-spy, which uv fetches from
PyPI, samples both processes from outside; it counts only threads that run. Needs the right to look into one's own
processes (ptrace(2)). Also printed: the functions in which most samples were taken.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from contenders import running
from flames import flames, folded, heaviest
from load import Requests, Sample, exchange
from sampling import children

if TYPE_CHECKING:
    from processes import Contender

SAMPLER = ("uv", "tool", "run", "--quiet", "--from", "py-spy==0.4.3", "py-spy")
RATE = 200  # samples a second
CLIENTS = 4
BODY_BYTES = 100_000
TITLES = {
    "relay": "The relay: CONNECT, TLS on both legs, full capture",
    "recorder": "The recorder: requests of 100 KB, 5.5 KB of them new",
}


async def client(contender: Contender, requests: Requests, over: trio.Event) -> None:
    """Send requests of both kinds until it is over."""
    stream = await contender.route.open()
    number = 0
    while not over.is_set():
        number += 1
        kind = "burst" if number % 2 else "json"
        await exchange(stream, requests.make(f"/v1/messages?beta=true&kind={kind}", contender.route.host), Sample())
    await trio.aclose_forcefully(stream)


async def sample(pid: int, seconds: int, file: Path) -> None:
    """Let py-spy look at a process."""
    options = ("--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE), "--format", "raw")
    done = await trio.run_process(
        [*SAMPLER, "record", *options, "--output", str(file)], check=False, capture_stdout=True, capture_stderr=True
    )
    if done.returncode:
        raise RuntimeError(f"py-spy could not sample: {done.stderr.decode()[-1000:]}")


async def main(seconds: int, to: Path) -> None:
    """Run everything and write the figures."""
    with tempfile.TemporaryDirectory() as directory:
        scratch, over = Path(directory), trio.Event()
        async with running(scratch, events=100, claudeproxy=True) as contenders, trio.open_nursery() as nursery:
            contender = next(one for one in contenders if (one.name, one.mode) == ("claudeproxy", "connect"))
            assert contender.pid is not None
            processes = {"relay": contender.pid, "recorder": children(contender.pid)[0]}
            requests = Requests(BODY_BYTES)
            for _ in range(CLIENTS):
                nursery.start_soon(client, contender, requests, over)
            await trio.sleep(3)  # until what is loaded at the first exchange is loaded
            async with trio.open_nursery() as samplers:
                for name, pid in processes.items():
                    samplers.start_soon(sample, pid, seconds, scratch / name)
            over.set()
        for name, title in TITLES.items():
            root = folded((scratch / name).read_text().splitlines())
            (to / f"{name}.svg").write_text(flames(title, root))
            print(f"{name}: {root.samples} samples, most of them in")
            for function, share in heaviest(root):
                print(f"  {share:6.1%}  {function}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("figures"))
    arguments = parser.parse_args()
    trio.run(main, arguments.seconds, arguments.to)
