"""`python -m tests.fuzz --seconds 60 [TARGET...]`: coverage-guided fuzzing of every parser, or of some.

Each target runs in a process of its own, because libFuzzer owns the process that it runs in. What it finds is written
to `fuzz-findings/` and tried again with `--input FILE`. Without atheris `--short` does the run that the tests do.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FINDINGS = Path("fuzz-findings")
MISSING = "tests.fuzz: atheris is not installed: run `uv run --group fuzz python -m tests.fuzz`, or use --short"


def main() -> int:
    """Run what the arguments ask for; the exit status is 1 when something was found."""
    arguments = _arguments()
    if arguments.list or arguments.short or arguments.input is not None:
        return _without_atheris(arguments)
    if importlib.util.find_spec("atheris") is None:
        print(MISSING, file=sys.stderr)
        return 2
    if arguments.worker:
        from tests.fuzz.guided import fuzz

        fuzz(arguments.targets[0], arguments.libfuzzer)
        return 0
    return _guided(arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them when none is named; see --list")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--runs", type=int, help="so many inputs for each target instead")
    parser.add_argument("--short", action="store_true", help="the run that the tests do: no guidance, no atheris")
    parser.add_argument("--input", type=Path, metavar="FILE", help="only try TARGET with the bytes of FILE")
    parser.add_argument("--list", action="store_true", help="name the targets and what each asks for")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--libfuzzer", action="append", default=[], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.worker:
        from tests.fuzz.registry import TARGETS

        unknown = [name for name in arguments.targets if name not in TARGETS]
        if unknown:
            parser.error(f"no target {unknown[0]!r}: there are {', '.join(TARGETS)}")
        if arguments.input is not None and len(arguments.targets) != 1:
            parser.error("--input is for one TARGET")
        arguments.targets = arguments.targets or list(TARGETS)
    return arguments


def _without_atheris(arguments: argparse.Namespace) -> int:
    from tests.fuzz.registry import TARGETS
    from tests.fuzz.short import inputs

    for name in arguments.targets:
        target = TARGETS[name]
        if arguments.list:
            print(f"{name}: {target.invariant}")
            continue
        tried = [arguments.input.read_bytes()] if arguments.input is not None else inputs(target)
        count = 0
        for data in tried:
            count += 1
            target.check(data)
        print(f"{name}: {count} inputs, nothing found")
    return 0


def _guided(arguments: argparse.Namespace) -> int:
    from tests.fuzz.registry import TARGETS

    failed = []
    for name in arguments.targets:
        target = TARGETS[name]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            corpus = Path(scratch, "corpus")
            corpus.mkdir()
            for number, seed in enumerate(target.seeds()):
                (corpus / f"seed-{number}").write_bytes(seed)
            words = Path(scratch, "words")
            words.write_text("".join(map(_quoted, target.words)))
            FINDINGS.mkdir(exist_ok=True)
            budget = f"-runs={arguments.runs}" if arguments.runs else f"-max_total_time={arguments.seconds}"
            options = [
                *(budget, f"-dict={words}", f"-artifact_prefix={FINDINGS}/{name}-", f"-max_len={target.max_bytes}"),
                *("-seed=1", "-timeout=30", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1", str(corpus)),
            ]
            command = [sys.executable, "-m", "tests.fuzz", "--worker", name]
            command += [f"--libfuzzer={option}" for option in options]
            done = subprocess.run(
                command,
                env={**os.environ, "TMPDIR": scratch, "PYTHONHASHSEED": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            failed.append(name)
            print(done.stdout, *_telling(done.stderr), sep="\n", file=sys.stderr)
        print(f"{name}: {_summary(done.stderr)}{', FAILED' if done.returncode else ''}", flush=True)
    if not any(FINDINGS.iterdir()):
        FINDINGS.rmdir()
    if failed:
        print(f"try again: python -m tests.fuzz {failed[0]} --input {FINDINGS}/{failed[0]}-crash-...", file=sys.stderr)
    return 1 if failed else 0


def _quoted(word: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


def _telling(log: str) -> list[str]:
    """What libFuzzer said, without its progress."""
    return [line for line in log.splitlines() if not line.startswith(("#", "INFO:", "stat::"))]


def _summary(log: str) -> str:
    runs = [line.split()[-1] for line in log.splitlines() if line.startswith("stat::number_of_executed_units")]
    covered = [line.partition("cov: ")[2].split()[0] for line in log.splitlines() if "cov: " in line]
    return f"{runs[-1] if runs else 'no'} inputs, {covered[-1] if covered else 'no'} branches seen"


if __name__ == "__main__":
    sys.exit(main())
