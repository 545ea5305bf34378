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
LIMITS = """## What a single request does not say

Two texts can stand so that the bytes of their request allow two readings. What decides them is another request, earlier
or later: by length and hash of the same text where it stood alone, or by a name that it spells. A request that was
explained before is explained again when a later one tells more. What nothing in a session decides is *undecidable*, and
counted apart.

- **Text given with `--append-system-prompt` behind MCP instructions or an output style, in 1.0 and 2.0.** These
  versions join both with a blank line and nothing else. Deciding is any request with the same instructions or style and
  nothing behind them (a turn without the flag, another session, a later client), or the same text behind a section of
  the client's own. Until there is one, the first paragraph is the server's, the last the user's, and what lies between
  is `Framework / unclassified` (rule `system.undecided`, confidence 0.5).
- **A tool's output that ends in a perfect copy of a hook's reminder, in layout A.** Old versions and old models append
  such reminders to the output itself; most versions do so only when a session is resumed, so that the same call's
  result was seen alone before. Where it was not, the client's transcript decides, when it may be read
  (`transcripts` in the [configuration](configuration.md)). Without either it is taken for the hook's, with a confidence
  of 0.9 and a rule that ends in `.glued`.
- **Tools of a server with `__` in its name, in a request that spells no server** (a subagent's, in old versions and
  layouts): `mcp__x__y__echo` could be `echo` of `x__y`, or of a server `y` behind `x`. Deciding is any captured request
  in which the client spells one of these names and no other, in the heading of instructions or in a notice. Until then
  a part of the name is taken, with a confidence of 0.8.

Other texts are written by the client exactly as somebody else could write them, and nothing elsewhere decides. They get
the reading that is right most of the time, with the confidence behind the colon. Where that is 1.0, the engine does not
know of the doubt: the words are exactly those that the client writes.

- a typed prompt that is word for word a notice of the client's (`Stop hook feedback:...`) is the hook's: 0.8
- a typed block of its own, beside the prompt, that is a perfect reminder, is what the reminder says: 1.0
- before 2.1.330, a line `- x: y` in a skill's description of several lines is an entry of its own, and a skill with a
  blank in its name belongs to the entry before it: 1.0
- a server's heading that another server quotes at the end of a partial list (2.1.197), or in lists that are not sorted
  by name (1.x, 2.0), begins the instructions of the quoted one: 1.0
- an agent's description that quotes the first line of the agents listing begins a listing of its own where a file's
  content stands before the real one, which may hold such a line as well: 1.0
- the text of an agent given with `--agent NAME` stands as the system prompt, without a mark: `User`, instructions: 0.95
- a denied call whose result is the hook's reason and nothing else is a result of the called tool: 1.0
- arguments of `/compact`, joined with what a `PreCompact` hook printed, are `User`, instructions, both of them: 0.7
- a skill or command `a:b`, where the request does not show a plugin `a`, keeps its whole name and gets no plugin: 1.0

A second scenario, written independently of this one to find faults (about 140 plants; names with dots, `__` and digits
only, unicode, empty and long descriptions, quoted headings, hooks of all events, streamed input), was run against the
engine as well: 97,600 marks were checked in 1,247 requests of five versions, and 26 causes were found and mended. The
kinds of plants that found them are in the session of this page now. What was left is the list above.

In *threads* the client sends only what is new of a conversation; what is compared is the whole context, rebuilt from
what the proxy stored. The vendor's server turns them on for some; here the variable `CLAUDE_CODE_TETHER_LIVE=1` does,
with tools and system prompt in every request. A further variant leaves those out as well. It hangs on another flag of
the server's, `tengu_quiet_heron`; setting that in `CLAUDE_INTERNAL_FC_OVERRIDES`, and as a cached feature in the
client's own file, was tried with 2.1.330 and changes nothing while nonessential traffic is off, so that variant is
tested with bodies of its shape only.
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
            f"| {setting.version} | {setting.entry} | {setting.model} | {verdict.requests} | {len(verdict.keys)} "
            f"| {verdict.seen.total()} | {verdict.right.total()} | {verdict.undecidable.total()} "
            f"| {len(verdict.misses)} | {share:.2%} |"
        )
    return lines


def _types(verdicts: Mapping[Setting, Verdict]) -> Sequence[str]:
    kinds = [kind for kind in SourceType if any(verdict.seen[kind] for verdict in verdicts.values())]
    lines = [f"| client | {' | '.join(kinds)} |", f"|---|{'--:|' * len(kinds)}"]
    for setting, verdict in verdicts.items():
        cells = [_share(verdict.right[kind], verdict.seen[kind] - verdict.undecidable[kind]) for kind in kinds]
        lines.append(f"| {setting.version} {setting.entry}, {setting.model} | {' | '.join(cells)} |")
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
