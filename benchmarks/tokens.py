"""Token accounting against conversations with known truth (token-bench).

    uv run benchmarks/tokens.py EXCHANGES.jsonl[.xz] OUT.jsonl     replay, and write the predictions
    uv run benchmarks/tokens.py --report [--bench DIR] [--json FILE]   score every set in DIR

A set is a directory with `exchanges.jsonl.xz` (requests with their answers, in order) and `truth.jsonl.xz`. Each
exchange is predicted before its answer is shown to the ledger, then settled by it. The predictions format is that of
token-bench: ``{"id", "predicted_total", "blocks", "overhead"}``, blocks in prompt order without the thinking that the
model drops.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.accounting.tokens import TokenCounter
from claudeproxy.model import Answer
from claudeproxy.sansio.answer import read_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCH = Path(__file__).resolve().parent.parent.parent / "shared" / "token-bench"
COLUMNS = ("later", "share_warm_within_1pct", "warm_first", "block", "source", "cold_first", "sum_error_tokens")


def exchanges(path: Path) -> Iterator[dict[str, object]]:
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def replay(path: Path) -> tuple[list[dict[str, object]], list[float], list[int]]:
    """Return the predictions, CPU seconds of each exchange, and the sizes of its body."""
    TokenCounter().count("the vocabulary is loaded before anything is timed")
    ledgers: dict[str, TokenLedger] = {}
    predictions, seconds, sizes = [], [], []
    for exchange in exchanges(path):
        request, message = exchange["request"], exchange["response"]
        body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        model = str(request["model"])
        usage = read_usage(message.get("usage"))
        answer = Answer(message=message, stop_reason=message.get("stop_reason"), usage=usage)
        started = time.process_time()
        ledger = ledgers.setdefault(model, TokenLedger(model))
        prompt = ledger.read(body)
        prediction = ledger.predict(prompt)
        settled = ledger.observe(prompt, usage, answer)
        seconds.append(time.process_time() - started)
        sizes.append(len(body))
        predictions.append(
            {
                "id": exchange["id"],
                "predicted_total": prediction.total,
                "blocks": [
                    tokens
                    for tokens, dropped, thinking in zip(
                        settled.blocks, settled.dropped, thoughts(request), strict=True
                    )
                    if not (dropped and thinking)
                ],
                "overhead": settled.overhead,
            }
        )
    return predictions, seconds, sizes


def thoughts(request: dict[str, object]) -> list[bool]:
    """Whether each block of the prompt is thinking, in prompt order."""
    contents = [request.get("tools") or [], request.get("system") or []]
    contents += [message.get("content") or [] for message in request["messages"]]
    blocks = [block for content in contents for block in (content if isinstance(content, list) else [{}])]
    return [str(block.get("type", "")).endswith("thinking") for block in blocks]


def write(predictions: list[dict[str, object]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(prediction) + "\n" for prediction in predictions)


def score(bench: Path, name: str) -> dict[str, object]:
    directory = bench / name
    source = next(p for p in (directory / "exchanges.jsonl", directory / "exchanges.jsonl.xz") if p.exists())
    predictions, seconds, sizes = replay(source)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "predictions.jsonl"
        write(predictions, out)
        command = [sys.executable, str(bench / "score.py"), str(directory), str(out)]
        result: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    per_size = sorted(s * 200_000 / size for s, size in zip(seconds, sizes, strict=True))
    result["cpu_ms"] = [round(1e3 * sorted(seconds)[int(len(seconds) * q)], 1) for q in (0.5, 0.95)]
    result["cpu_ms_200kb"] = round(1e3 * per_size[len(per_size) // 2], 1)
    return result


def report(bench: Path, json_path: Path | None) -> int:
    names = sorted(path.parent.name for path in bench.glob("*/truth.jsonl*"))
    if not names or not (bench / "score.py").exists():
        print(f"no token-bench sets and score.py in {bench}: name their directory with --bench", file=sys.stderr)
        return 2
    results = {name: score(bench, name) for name in names}
    print("| set | next request | warm within 1 % | first, warm | block | source | first, cold | sum | CPU ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        cells = [result[column] for column in COLUMNS] + [result["cpu_ms"]]
        print(f"| {name} | " + " | ".join(_cell(cell) for cell in cells) + " |")
    if json_path is not None:
        json_path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def _cell(value: object) -> str:
    return " / ".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exchanges", nargs="?", type=Path)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--report", action="store_true", help="score every set and print the table")
    parser.add_argument("--bench", type=Path, default=BENCH, help="directory with the sets and score.py")
    parser.add_argument("--json", type=Path, help="write every figure of the report")
    options = parser.parse_args()
    if options.report:
        return report(options.bench, options.json)
    if options.exchanges is None or options.out is None:
        parser.error("EXCHANGES and OUT, or --report")
    write(replay(options.exchanges)[0], options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
