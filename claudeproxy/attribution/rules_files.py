"""Rules for files that the client brings in: mentioned, changed, remembered; and for notices about background work.

See `rulebook` for the order of the ranks and what a row must hold.
"""

from __future__ import annotations

import re

from claudeproxy.attribution.memory import SCOPE
from claudeproxy.attribution.rules import Rule
from claudeproxy.model import SourceType

_F = SourceType.FRAMEWORK
_PARAGRAPH = r"[^\n]*(?:\n(?!\n)[^\n]+)*"  # to the next blank line


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


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
        id="file.note",
        pattern=_re(r"Note: (?P<path>[^\n]{1,1000}?) is not shown exactly as it is on disk\." + _PARAGRAPH),
        type=SourceType.ATTACHMENT,
        name="{path}",
        kind="notice",
        rank=0,
        closed=True,
        repeats=True,
        example="Note: /p/m.txt is not shown exactly as it is on disk. Closing tags are shown as &lt;.",
        counter_example="Note: the text is not shown.",
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
        pattern=_re(rf"Contents of (?P<path>[^\n]{{1,1000}}?){SCOPE}:\n\n"),
        type=SourceType.MEMORY,
        name="{path}",
        kind="body",
        rank=6,
        resent=0,
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
        pattern=_re(
            r"(?:\[SYSTEM NOTIFICATION - NOT USER INPUT\]"
            r"|A background agent completed a task:(?=\n<task-notification>))\n"
        ),
        type=_F,
        name="task notification",
        kind="notice",
        rank=0,
        repeats=True,
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
