"""Writes docs/reference/attribution-accuracy.md from the verdicts of a real run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.model import SourceType
from tests.accuracy.plants import PLANTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.accuracy.check import Verdict
    from tests.accuracy.session import Setting

HEAD = """# Attribution accuracy

<!-- Made by `uv run python -m tests.accuracy` from a real run. -->

The real Claude Code, in the versions and with the models below, works through a scripted session behind the proxy, in a
project full of planted texts: prompts, memory of every kind, hooks, skills, commands, agents, an output style, MCP
servers (a failing, an aggregating and a plugin's among them), mentioned files, pictures, documents, a task list,
compaction and resume. Many of them imitate the client's own markers. Every planted text carries its mark in each of its
paragraphs; every mark in every request is compared with its true owner, which follows from a table of plants and from
where the mark stands, not from the engine: [the table](../../tests/accuracy/plants.py),
[the rules of position](../../tests/accuracy/oracle.py). What is compared is what the proxy stored.

A mark is *right* when the span that holds it has the owner's type, name and kind (and plugin, and aggregator).
"""
LIMITS = """## What a request does not say

*Undecidable* marks stand where the bytes of a single request allow two readings. They are counted apart:

- **Text given with `--append-system-prompt` behind MCP instructions or an output style, in 1.0 and 2.0.** These
  versions join both with a blank line and nothing else. That text was appended is certain (a line break is missing
  before git status), where it begins is not: the first paragraph is the server's, the last the user's, and what lies
  between is `Framework / unclassified`.
- **A tool's output that ends in a perfect copy of a hook's reminder, in layout A.** Old versions and old models append
  such reminders to the output itself. A copy in the middle of an output is told in every version, one at the end only
  where the client keeps reminders apart; some versions do so until a session is resumed.
"""


def page(verdicts: Mapping[Setting, Verdict]) -> str:
    """Return the whole page, in Markdown."""
    lines = [HEAD, "## By client", "", *_clients(verdicts), "", "## By source type", "", *_types(verdicts), ""]
    lines += ["## Misses", "", *_misses(verdicts), "", LIMITS, "## Planted texts that a client never sent", ""]
    return "\n".join([*lines, *_unseen(verdicts)]) + "\n"


def _clients(verdicts: Mapping[Setting, Verdict]) -> Sequence[str]:
    lines = [
        "| client | entry | model | requests | texts | marks | right | undecidable | missed | unclassified tokens |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for setting, verdict in verdicts.items():
        share = verdict.unclassified / verdict.tokens if verdict.tokens else 0.0
        lines.append(
            f"| {setting.version} | {setting.mode} | {setting.model} | {verdict.requests} | {len(verdict.keys)} "
            f"| {verdict.seen.total()} | {verdict.right.total()} | {verdict.undecidable.total()} "
            f"| {len(verdict.misses)} | {share:.2%} |"
        )
    return lines


def _types(verdicts: Mapping[Setting, Verdict]) -> Sequence[str]:
    kinds = [kind for kind in SourceType if any(verdict.seen[kind] for verdict in verdicts.values())]
    lines = [f"| client | {' | '.join(kinds)} |", f"|---|{'--:|' * len(kinds)}"]
    for setting, verdict in verdicts.items():
        cells = [_share(verdict.right[kind], verdict.seen[kind] - verdict.undecidable[kind]) for kind in kinds]
        lines.append(f"| {setting.version} {setting.mode}, {setting.model} | {' | '.join(cells)} |")
    return [*lines, "", "Marks that can be decided; where not all of them are right, how many are."]


def _share(right: int, seen: int) -> str:
    return f"{seen:,}" if right == seen else f"**{right:,} of {seen:,}**"


def _misses(verdicts: Mapping[Setting, Verdict]) -> Sequence[str]:
    found = [f"- {setting}: {miss}" for setting, verdict in verdicts.items() for miss in verdict.misses]
    return found or ["None."]


def _unseen(verdicts: Mapping[Setting, Verdict]) -> Sequence[str]:
    keys = [plant.key for plant in PLANTS]
    return [
        f"- {setting}: {', '.join(f'`{key}`' for key in keys if key not in verdict.keys) or 'none'}"
        for setting, verdict in verdicts.items()
    ]
