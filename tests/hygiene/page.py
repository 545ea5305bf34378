"""docs/reference/http-hygiene.md, made from the corpus: a row that no test drives cannot stand there."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.registry import TARGETS
from tests.hygiene import answers, requests
from tests.hygiene.trick import AnswerTrick, Trick, Verdict

PATH = Path(__file__).resolve().parents[2] / "docs/reference/http-hygiene.md"

_INTRODUCTION = """\
# HTTP hygiene and fuzzing

<!-- Made by `uv run python -m tests.hygiene` from the corpus in tests/hygiene and the targets in tests/fuzz. -->

The proxy reads every message and writes it again. Two servers that read one message differently are how requests are
smuggled and answers are swapped, so there is one rule: what is passed on has one reading, and what has two is refused.
Every line below is a test with real sockets, through each way into the proxy (`reverse`, `CONNECT` with and without
TLS inside, absolute URLs), against an upstream that keeps every byte. Each asserts four things:

- What the upstream received is read by [h11](https://h11.readthedocs.io/) and by a strict reader of RFC 9112 that
  shares nothing with the proxy as exactly as many requests, with the same bodies, as the proxy recorded.
- Nothing that follows a refused request is taken for a request. The answer says `Connection: close`, and it closes.
- No connection to the upstream carries another request after anything doubtful, and the next client gets its own
  answer.
- There is one record for each exchange, with an honest state: `complete`, `aborted_by_client` (its body broke, error
  kind `protocol`), `upstream_error` or `cut_by_upstream`. A request refused by its head is no exchange: no record.

Stricter than RFC 9110 and 9112 ask, on purpose: no repeated lengths, equal or not; none with leading zeros; no
`Content_Length` or `Transfer_Encoding` with an underscore; no transfer coding but `chunked`; no white space round chunk
extensions; nothing of what RFC 9112 lets a recipient repair (bare LF, folding). A `Host` that names another host than
the tunnel that it came through is a 421: the record and the upstream would go by different hosts.

Beside the corpus, properties are checked with [Hypothesis](https://hypothesis.readthedocs.io/): of heads and chunks
that both accept, the proxy and h11 read the same, nothing is accepted that h11 refuses, and what h11 accepts and the
proxy does not is on a list with a reason for each (`tests/hygiene/test_differential.py`).

What a proxy cannot know: an upstream that sends a well-formed answer to a question nobody asked, in the instant
between the look at an idle connection and the next request on it. It is closed when that is seen before.
"""

_REQUESTS = """\
## What clients send

*Refused*: the upstream hears nothing of it. *Broken off*: the head was good and the body is not; the upstream's
connection is closed in the middle of the request. The status is that of our answer.
"""

_ANSWERS = """\
## What upstreams send

*Refused*: the client gets a 502 of ours. *Cut off*: the head was good and the body is not; the client sees that it is
not whole. *Kept* and *closed* is what becomes of the upstream's connection.
"""

_FUZZING = """\
## Fuzzing

Every parser has a target that asks more of it than not to crash. With guidance by coverage
([atheris](https://github.com/google/atheris), on Linux):

```console
$ uv run --group fuzz python -m tests.fuzz --seconds 60              # each target for a minute
$ uv run --group fuzz python -m tests.fuzz --seconds 600 chunked     # one of them
$ uv run python -m tests.fuzz --short                                # what the tests do: the same inputs every time
$ uv run python -m tests.fuzz chunked --input fuzz-findings/chunked-crash-...
```

What is found is written to `fuzz-findings/`. The tests run every target on its seeds and a fixed number of changes to
them; continuous integration adds a short guided run.

| target | what must hold for any bytes |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _REQUESTS]
    for name, tricks in requests.GROUPS.items():
        parts.append(f"### {name}\n\n| sent | outcome | why |\n|---|---|---|\n" + "".join(map(_request_row, tricks)))
    parts.append(_ANSWERS)
    for name, rows in answers.GROUPS.items():
        parts.append(f"### {name}\n\n| sent | outcome | why |\n|---|---|---|\n" + "".join(map(_answer_row, rows)))
    parts.append(_FUZZING + "".join(f"| `{target.name}` | {target.invariant} |\n" for target in TARGETS.values()))
    return "\n".join(parts)


def _request_row(trick: Trick) -> str:
    outcomes = [str(trick.outcome)]
    for outcome in dict.fromkeys(trick.elsewhere.values()):
        ways = [way for way, one in trick.elsewhere.items() if one == outcome]
        outcomes.append(f"{' and '.join(f'`{way}`' for way in ways)}: {outcome}")
    if trick.outcome.verdict is Verdict.PASSED and trick.outcome.framing != "none":
        outcomes[0] += f", {'chunked' if trick.outcome.framing == 'chunked' else 'by its length'}"
    return _row(trick.name, "; ".join(outcomes), trick.why or "RFC 9112, 6.3")


def _answer_row(trick: AnswerTrick) -> str:
    return _row(trick.name, str(trick), trick.why or "RFC 9112, 6.3")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
