"""Rules for what the client adds turn by turn: hooks, reminders, mentioned files, memory.

See `rulebook` for the order of the ranks and what a row must hold.
"""

from __future__ import annotations

import re

from claudeproxy.attribution.rules import Rule
from claudeproxy.model import SourceType

_F, _HOOK = SourceType.FRAMEWORK, SourceType.HOOK
_PARAGRAPH = r"[^\n]*(?:\n(?!\n)[^\n]+)*"  # to the next blank line


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


HOOKS = (
    Rule(
        id="hook.session",
        pattern=_re(
            r"(?P<event>SessionStart|SubagentStart|Setup)(?P<matcher>:[\w-]+)? hook "
            r"(?:success|additional context|(?:blocking |non-blocking )?error)[^\n:]{0,60}: ?"
        ),
        type=_HOOK,
        name="{event}{matcher}",
        kind="body",
        rank=0,
        resent=7,
        repeats=True,
        example="SessionStart:startup hook success: text of the hook",
        counter_example="A SessionStart:startup hook success: told by somebody",
    ),
    Rule(
        id="hook.tool",
        pattern=_re(
            r"(?P<event>PreToolUse|PostToolUse|PostToolUseFailure|PermissionRequest):(?P<matcher>[\w*|.-]+) hook "
            r"(?:success|additional context|stopped continuation|(?:blocking |non-blocking )?error)[^\n:]{0,60}: ?"
        ),
        type=_HOOK,
        name="{event}:{matcher}",
        kind="body",
        rank=0,
        resent=0,
        repeats=True,
        glued=True,
        example="PostToolUse:Bash hook additional context: text of the hook",
        counter_example="PostToolUse hook",
    ),
    Rule(
        id="hook.prompt",
        pattern=_re(
            r"(?P<event>UserPromptSubmit|Notification|Stop|SubagentStop|PreCompact|PostCompact|SessionEnd)"
            r"(?P<matcher>:[\w-]+)? hook "
            r"(?:success|additional context|stopped continuation|(?:blocking |non-blocking )?error)[^\n:]{0,60}: ?"
        ),
        type=_HOOK,
        name="{event}{matcher}",
        kind="body",
        rank=9,
        resent=10,
        repeats=True,
        example="UserPromptSubmit hook success: text of the hook",
        counter_example="UserPromptSubmit hooks are useful",
    ),
)

REMINDERS = (
    Rule(
        id="plan-mode",
        pattern=_re(r"(?:Plan mode (?:is|still) active\b|## (?:Exited Plan Mode|Re-entering Plan Mode)\n)"),
        type=_F,
        name="plan mode",
        kind="reminder",
        rank=8,
        example="Plan mode is active. Do not edit.",
        counter_example="Plan mode was active.",
    ),
    Rule(
        id="output-style.reminder",
        pattern=_re(r"[^\n]{1,200} output style is active\. Remember to follow the specific guidelines[^\n]*"),
        type=_F,
        name="output style",
        kind="reminder",
        rank=8,
        closed=True,
        repeats=True,
        glued=True,
        example="Curt output style is active. Remember to follow the specific guidelines for this style.",
        counter_example="Curt output style is active.",
    ),
    Rule(
        id="tasks.reminder",
        pattern=_re(r"The (?:TodoWrite tool hasn't|task tools haven't) been used recently\."),
        type=_F,
        name="task reminder",
        kind="reminder",
        rank=8,
        glued=True,
        example="The task tools haven't been used recently. Here are the existing tasks:\n\n#1. [pending] x",
        counter_example="The task tools are new.",
    ),
    Rule(
        id="todo.list",
        pattern=_re(r"(?:Your todo list has changed\.|This is a reminder that your todo list is currently empty\.)"),
        type=_F,
        name="task reminder",
        kind="reminder",
        rank=8,
        glued=True,
        layouts="A",
        example="Your todo list has changed. Here are the contents:",
        counter_example="Your todo list is long.",
    ),
    Rule(
        id="silent-turn",
        pattern=_re(r"The user hasn't heard from you in a while\." + _PARAGRAPH),
        type=_F,
        name="silent turn",
        kind="reminder",
        rank=8,
        closed=True,
        example="The user hasn't heard from you in a while. Say something.",
        counter_example="The user hasn't heard.",
    ),
    Rule(
        id="token-budget",
        pattern=_re(r"<total_tokens>\d+ tokens left</total_tokens>"),
        type=_F,
        name="token budget",
        kind="reminder",
        rank=8,
        closed=True,
        repeats=True,
        glued=True,
        layouts="A",
        example="<total_tokens>1000 tokens left</total_tokens>",
        counter_example="<total_tokens>many</total_tokens>",
    ),
    Rule(
        id="token-usage",
        pattern=_re(r"Token usage: \d+/\d+; \d+ remaining"),
        type=_F,
        name="token budget",
        kind="reminder",
        rank=8,
        closed=True,
        repeats=True,
        glued=True,
        layouts="A",
        example="Token usage: 10/100; 90 remaining",
        counter_example="Token usage: high",
    ),
    Rule(
        id="malware",
        pattern=_re(r"Whenever you read a file, you should consider whether it" + _PARAGRAPH),
        type=_F,
        name="malware reminder",
        kind="reminder",
        rank=8,
        closed=True,
        glued=True,
        layouts="A",
        example="Whenever you read a file, you should consider whether it would be harmful.",
        counter_example="Whenever you read a book, think.",
    ),
    Rule(
        id="commit-attribution",
        pattern=_re(r"Attribution for git commits and pull requests you create\b"),
        type=_F,
        name="commit attribution",
        kind="instructions",
        rank=8,
        example="Attribution for git commits and pull requests you create from here on:\n- End with X",
        counter_example="Attribution for photographs",
    ),
    Rule(
        id="keyword",
        pattern=_re(r'The user included the keyword "[^"\n]{1,100}"[^\n]*'),
        type=_F,
        name="keyword",
        kind="reminder",
        rank=8,
        closed=True,
        repeats=True,
        example='The user included the keyword "example", asking for more of it on this turn.',
        counter_example="The user included the kitchen sink.",
    ),
    Rule(
        id="agent.mention",
        pattern=_re(r'The user has expressed a desire to invoke the agent "(?P<agent>[^"\n]+)"' + _PARAGRAPH),
        type=SourceType.AGENT,
        name="{agent}",
        kind="mention",
        rank=0,
        repeats=True,
        closed=True,
        example='The user has expressed a desire to invoke the agent "planner". Do so.',
        counter_example="The user has expressed joy.",
    ),
    Rule(
        id="date",
        pattern=_re(r"(?:The date has changed\. )?Today's date is (?:now )?\d{4}-\d\d-\d\d\.[^\n]*"),
        type=_F,
        name="date",
        kind="text",
        rank=10,
        resent=11,
        closed=True,
        repeats=True,
        example="Today's date is 2026-11-22.",
        counter_example="Today's date is unknown.",
    ),
)
