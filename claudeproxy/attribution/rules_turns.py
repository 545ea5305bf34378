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
            r"(?P<event>UserPromptSubmit|Notification|Stop|SubagentStop|PreCompact|PostCompact|SessionEnd) hook "
            r"(?:success|additional context|stopped continuation|(?:blocking |non-blocking )?error)[^\n:]{0,60}: ?"
        ),
        type=_HOOK,
        name="{event}",
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
        id="agent.mention",
        pattern=_re(r'The user has expressed a desire to invoke the agent "(?P<agent>[^"\n]+)"' + _PARAGRAPH),
        type=SourceType.AGENT,
        name="{agent}",
        kind="mention",
        rank=8,
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

FILES = (
    Rule(
        id="file.mention",
        pattern=_re(r"Called the (?P<tool>\w+) tool with the following input: (?P<input>\{[^\n]*\}?)"),
        type=SourceType.ATTACHMENT,
        name="file",
        kind="call",
        rank=0,
        repeats=True,
        divide="mention",
        example='Called the Read tool with the following input: {"file_path":"/p/m.txt"}',
        counter_example="Called the police",
    ),
    Rule(
        id="file.content",
        pattern=_re(r"Result of calling the (?P<tool>\w+) tool:"),
        type=SourceType.ATTACHMENT,
        name="file",
        kind="body",
        rank=0,
        repeats=True,
        divide="mention",
        example="Result of calling the Read tool:\n1\ttext",
        counter_example="Result of calling mother:",
    ),
    Rule(
        id="file.changed",
        pattern=_re(r"Note: (?P<path>[^\n]{1,1000}?) (?:changed on disk|was modified)\b"),
        type=SourceType.ATTACHMENT,
        name="{path}",
        kind="change",
        rank=0,
        repeats=True,
        glued=True,
        example="Note: /p/m.txt changed on disk since you last read it.",
        counter_example="Note: this is fine",
    ),
    Rule(
        id="memory.files",
        pattern=_re(r"Codebase and user instructions are shown below\.[^\n]*\n"),
        type=_F,
        name="memory preamble",
        kind="instructions",
        rank=0,
        divide="memory",
        example="Codebase and user instructions are shown below. Follow them.\n\nContents of /p/CLAUDE.md (project in",
        counter_example="Codebase and user interface",
    ),
    Rule(
        id="memory.nested",
        pattern=_re(r"Contents of (?P<path>[^\n]{1,1000}):\n\n"),
        type=SourceType.MEMORY,
        name="{path}",
        kind="body",
        rank=0,
        repeats=True,
        glued=True,
        example="Contents of /p/sub/CLAUDE.md:\n\nNested.",
        counter_example="Contents of the box:\nnothing",
    ),
    Rule(
        id="context.block",
        pattern=_re(r"As you answer the user's questions, you can use the following context:\n"),
        type=_F,
        name="context",
        kind="text",
        rank=0,
        divide="context",
        example="As you answer the user's questions, you can use the following context:\n# currentDate\nToday's date",
        counter_example="As you answer, be brief.",
    ),
    Rule(
        id="notification",
        pattern=_re(r"\[SYSTEM NOTIFICATION - NOT USER INPUT\]\n"),
        type=_F,
        name="task notification",
        kind="notice",
        rank=0,
        divide="notification",
        example="[SYSTEM NOTIFICATION - NOT USER INPUT]\nThis is an automated event.",
        counter_example="[NOTIFICATION]",
    ),
    Rule(
        id="skill.invoked",
        pattern=_re(r"### Skill: (?P<skill>[^\n]{1,300})\nPath: [^\n]+\n"),
        type=SourceType.SKILL,
        name="{skill}",
        kind="body",
        rank=8,
        repeats=True,
        confidence=0.8,  # read in the client's source, not provoked
        example="### Skill: vectorize\nPath: projectSettings:vectorize\n\nBody.",
        counter_example="### Skill: vectorize\n",
    ),
)
