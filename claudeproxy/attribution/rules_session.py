"""Rules for what the client sends when a session starts (and again after a compaction): lists, instructions, places.

See `rulebook` for the order of the ranks and what a row must hold.
"""

from __future__ import annotations

import re

from claudeproxy.attribution.rules import Rule
from claudeproxy.model import SourceType

_F = SourceType.FRAMEWORK
_PARAGRAPH = r"[^\n]*(?:\n(?!\n)[^\n]+)*"  # to the next blank line


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


SESSION = (
    Rule(
        id="environment",
        pattern=_re(r"# Environment\nYou have been invoked in the following environment:[^\n]*(?:\n *- [^\n]*)*"),
        type=_F,
        name="environment",
        kind="text",
        rank=1,
        resent=4,
        closed=True,
        example="# Environment\nYou have been invoked in the following environment: \n - Platform: linux",
        counter_example="# Environment imitation",
    ),
    Rule(
        id="environment.update",
        pattern=_re(r"# Environment update\n *- Additional working directories [^\n]*(?:\n *- [^\n]*)*"),
        type=_F,
        name="environment",
        kind="text",
        rank=1,
        resent=4,
        closed=True,
        repeats=True,
        example="# Environment update\n - Additional working directories added:\n  - /p/more",
        counter_example="# Environment updates are nice",
    ),
    Rule(
        id="model",
        pattern=_re(r"You are powered by the model named [^\n]+"),
        type=_F,
        name="model",
        kind="text",
        rank=2,
        resent=5,
        closed=True,
        example="You are powered by the model named Example 1. The exact model ID is example-1.",
        counter_example="You are powered by coffee",
    ),
    Rule(
        id="output-style",
        pattern=_re(r"# Output Style: (?P<style>[^\n]+)\n"),
        type=_F,
        name="output style",
        kind="instructions",
        rank=3,
        resent=6,
        example="# Output Style: Curt\nBe curt.",
        counter_example="# Output Style",
    ),
    Rule(
        id="tools.deferred",
        pattern=_re(
            r"The following deferred tools are (?:now|also now|also) available via ToolSearch\.[^\n]*"
            r"(?:\n[^\s()]+(?: \(\d+\))?(?=\n|$))*"
        ),
        type=_F,
        name="deferred tools",
        glued=True,
        kind="listing",
        rank=4,
        resent=1,
        closed=True,
        repeats=True,
        divide="tool_lines",
        layouts="BC",
        example="The following deferred tools are now available via ToolSearch. Load them:\nWebFetch",
        counter_example="The following deferred tools are funny",
    ),
    Rule(
        id="tools.deferred-tag",
        pattern=_re(r"<available-deferred-tools>(?:\n[^\n]*)*?\n</available-deferred-tools>"),
        type=_F,
        name="deferred tools",
        kind="listing",
        rank=4,
        resent=1,
        closed=True,
        divide="tool_lines",
        layouts="A",
        example="<available-deferred-tools>\nWebFetch\nmcp__docs__find\n</available-deferred-tools>",
        counter_example="<available-tools>",
    ),
    Rule(
        id="tools.changed",
        pattern=_re(
            r"(?:The following (?:deferred )?(?:MCP )?tools (?:are no longer available|just became available)"
            r"|Some tools just became available)" + _PARAGRAPH + r"(?:\n\nThis is ambient context[^\n]*)?"
        ),
        type=_F,
        name="tool availability",
        glued=True,
        kind="notice",
        rank=4,
        resent=8,
        closed=True,
        repeats=True,
        divide="tool_lines",
        layouts="BC",
        example="The following tools are no longer available:\nmcp__docs__find",
        counter_example="The following tools are hammers",
    ),
    Rule(
        id="tools.again",
        pattern=_re(r"\d+ deferred tools? (?:is|are) available again \([^\n()]*\): [^\n]*"),
        type=_F,
        name="tool availability",
        kind="notice",
        rank=4,
        resent=8,
        closed=True,
        repeats=True,
        glued=True,
        divide="tool_words",
        example="2 deferred tools are available again (MCP server reconnected): WebFetch, mcp__docs__* (2). Load them.",
        counter_example="2 deferred tools are broken",
    ),
    Rule(
        id="mcp.failed",
        pattern=_re(
            r"The following MCP servers are configured but failed to connect"
            + _PARAGRAPH
            + r"(?:\n\nTreat this as a connection failure[^\n]*)?"
        ),
        type=_F,
        name="MCP availability",
        glued=True,
        kind="error",
        rank=4,
        resent=8,
        closed=True,
        repeats=True,
        divide="server_lines",
        layouts="BC",
        example='The following MCP servers are configured but failed to connect:\nbroken (CODE): "Connection closed"',
        counter_example="The following MCP servers are configured",
    ),
    Rule(
        id="mcp.notice",
        pattern=_re(
            r"The following MCP servers (?:are still connecting|(?:also )?require authentication)"
            + _PARAGRAPH
            + r"(?:\n\n(?:If the user's request might be served by one|This is ambient context)[^\n]*)?"
        ),
        type=_F,
        name="MCP availability",
        glued=True,
        kind="notice",
        rank=4,
        resent=8,
        closed=True,
        repeats=True,
        divide="server_lines",
        layouts="BC",
        example="The following MCP servers are still connecting:\nslow",
        counter_example="The following MCP servers are nice",
    ),
    Rule(  # stands where servers' instructions do, not with the other notices
        id="mcp.disconnected",
        pattern=_re(
            r"The following MCP servers have disconnected"
            + _PARAGRAPH
            + r"(?:\n\n(?:If the user's request might be served by one|This is ambient context)[^\n]*)?"
        ),
        type=_F,
        name="MCP availability",
        glued=True,
        kind="notice",
        rank=6,
        resent=8,
        closed=True,
        repeats=True,
        divide="server_lines",
        layouts="BC",
        example="The following MCP servers have disconnected. Their instructions above no longer apply:\nslow",
        counter_example="The following MCP servers have gone:\nslow",
    ),
    Rule(
        id="agents.listing",
        pattern=re.compile(
            r"(?:Available agent types for the Agent tool:|New agent types are now available[^\n]*)\n"
            r"(?:- .*?\(Tools: [^\n]*\)(?:\n(?=- )|(?=\n\n)|\n?\Z))+(?:\n\nWhen you launch multiple agents[^\n]*)?",
            re.DOTALL,
        ),
        type=_F,
        name="agents listing",
        glued=True,
        kind="listing",
        rank=5,
        resent=1,
        closed=True,
        divide="agents",
        example="Available agent types for the Agent tool:\n- planner: plans\n- and more (Tools: *)\n- b: c (Tools: R)",
        counter_example="Available agent types for the Agent tool: none",
    ),
    Rule(
        id="agents.removed",
        pattern=_re(
            r"The following agent types are no longer available:(?:\n- [^\n]+)+(?:\n\nThis is ambient context[^\n]*)?"
        ),
        type=_F,
        name="agents listing",
        glued=True,
        kind="notice",
        rank=5,
        resent=1,
        closed=True,
        repeats=True,
        divide="agent_names",
        example="The following agent types are no longer available:\n- planner",
        counter_example="The following agent types are nice:\n- planner",
    ),
    Rule(
        id="agents.listing-open",
        pattern=_re(r"(?:Available agent types for the Agent tool:|New agent types are now available[^\n]*)\n"),
        type=_F,
        name="agents listing",
        glued=True,
        kind="listing",
        rank=5,
        resent=1,
        divide="agents",
        example="Available agent types for the Agent tool:\n- planner: plans (Tools: *)",
        counter_example="Available agent types: none",
    ),
    Rule(
        id="mcp.instructions",
        pattern=_re(r"# MCP Server Instructions\n\nThe following MCP servers have provided instructions[^\n]*\n"),
        type=_F,
        name="MCP instructions",
        glued=True,
        kind="instructions",
        rank=6,
        resent=3,
        repeats=True,
        divide="mcp_instructions",
        example=(
            "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their "
            "tools and resources:\n\n## docs\nAsk me."
        ),
        counter_example="# MCP Server Instructions\n\nSee the wiki.",
    ),
    Rule(
        id="skills.listing",
        pattern=_re(
            r"(?:The following skills are (?:available for use with the Skill tool|also available)[^\n]*"
            r"|New skills discovered in [^\n]*)\n+(?=- )"
        ),
        type=_F,
        name="skills listing",
        glued=True,
        kind="listing",
        rank=7,
        resent=2,
        divide="skills",
        example="The following skills are available for use with the Skill tool:\n\n- vectorize: turns into vectors",
        counter_example="The following skills are available in this office: typing",
    ),
)
