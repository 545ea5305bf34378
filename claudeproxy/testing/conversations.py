"""Whole conversations to send through a proxy: one to look at, one to measure with.

`demo_conversation` is what `claudeproxy demo` shows and what tests of attribution can rely on: memory, hooks, two MCP
servers (deferred, loaded, called side by side), a skill, a subagent, a second prompt. `long_conversation` grows to the
size of a long working day, for benchmarks of speed and disk. `script_for` makes the mock answer them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from claudeproxy.testing import texts
from claudeproxy.testing.client import CLIENT_VERSION, PROJECT, Agent, Dialogue, Layout, Session, Turn
from claudeproxy.testing.prose import Prose
from claudeproxy.testing.replies import Text, Thinking, ToolUse
from claudeproxy.testing.scripts import NoReplyError
from claudeproxy.testing.shapes import EPHEMERAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from claudeproxy.testing.received import ReceivedRequest
    from claudeproxy.testing.replies import Answer
    from claudeproxy.testing.scripts import Script

_BOTANIST = Agent(id="a4f8c23997085d570")
_GLOBAL = {"type": "ephemeral", "scope": "global"}


def script_for(turns: Iterable[Turn]) -> Script:
    """Answer each turn with its reply, known by the exact bytes of its body: a proxy that alters one is found out."""
    replies: dict[bytes, deque[Turn]] = defaultdict(deque)
    for turn in turns:
        replies[hashlib.sha256(turn.body).digest()].append(turn)

    def script(request: ReceivedRequest) -> Answer:
        waiting = replies.get(hashlib.sha256(request.decoded).digest(), ())
        if not waiting:
            raise NoReplyError(
                f"Request {request.number} has a body ({len(request.body)} bytes) that no turn of the conversation "
                f"has. Its last user text is {request.prompt[:80]!r}."
            )
        return (waiting.popleft() if len(waiting) > 1 else waiting[0]).reply

    return script


def prompt_fingerprints() -> dict[str, list[str]]:
    """What a proxy has to know to tell this client's own prompt from what a user put into it, as for a real client.

    Client version -> the first 16 hex digits of the SHA-256 of each paragraph of its prompt (stripped, UTF-8), which is
    what `evidence.fingerprints` holds of real versions. Hand it to `AttributionEngine` or `ClaudeProxy`.
    """
    own = f"{texts.FRAMEWORK_STATIC}\n\n{texts.FRAMEWORK_DYNAMIC}\n\n{texts.SUBAGENT_NOTES}"
    paragraphs = (paragraph.strip() for paragraph in own.split("\n\n"))
    return {CLIENT_VERSION: [hashlib.sha256(paragraph.encode()).hexdigest()[:16] for paragraph in paragraphs]}


def demo_conversation(layout: Layout = Layout.CURRENT) -> list[Turn]:
    """Two prompts, ten requests: eight of the main conversation, two of a subagent."""
    session = Session(name="demo", layout=layout)
    main = Dialogue(session, system=_system(), tools=texts.BUILT_IN_TOOLS)
    turns: list[Turn] = []
    main.prompt(
        "Sheet 0412 has no family. Find it, check the name, and set the label.",
        reminders=(texts.MEMORY, texts.GIT_STATUS, texts.ATTRIBUTION),
        injected=_first_injection(session),
    )
    plan = Thinking(thinking="The sheet first, then the accepted name, then the label as the skill says.")
    show = ToolUse(name="Bash", input={"command": "cat sheets/0412.yaml", "description": "Show the sheet"})
    turns.append(main.turn("prompt", plan, Text(text="I will look at the sheet first."), show))
    main.results(
        "accession: H-0412\nname: Gentiana bavarica L.\nfamily: null", injected=(texts.BASH_HOOK,), is_error=False
    )
    wanted = (texts.ATLAS_TOOLS[0], texts.TRACKER_TOOLS[0])
    names = [str(tool["name"]) for tool in wanted]
    turns.append(main.turn("Bash result", ToolUse(name="ToolSearch", input={"query": f"select:{','.join(names)}"})))
    main.load(*wanted)
    main.results([{"type": "tool_reference", "tool_name": name} for name in names], following=("Tool loaded.",))
    calls = (
        ToolUse(name=names[0], input={"name": "Gentiana bavarica"}),
        ToolUse(name=names[1], input={"words": "0412"}),
    )
    turns.append(main.turn("MCP tools loaded", *calls))
    main.results(
        [{"type": "text", "text": "Gentiana bavarica L., Gentianaceae; Sp. Pl. 229 (1753). Synonyms: none in use."}],
        [{"type": "text", "text": "HERB-17: sheet 0412 came without a family (open since 2026-08-02)"}],
    )
    turns.append(main.turn("two MCP results", ToolUse(name="Skill", input={"skill": "press-labels"})))
    main.results("Launching skill: press-labels", following=(texts.SKILL_BODY,))
    task = f"Read {PROJECT}/sheets/0412.yaml and say whether Gentianaceae fits what the sheet tells."
    arguments = {"description": "Check the family", "prompt": task, "subagent_type": "botanist"}
    turns.append(main.turn("skill loaded", ToolUse(name="Agent", input=arguments)))
    report = "The sheet fits Gentianaceae.\nPlace and height agree with what the atlas says."
    turns += _subagent(session, task, report)
    main.results([{"type": "text", "text": texts.hand_back(_BOTANIST.id, report)}])
    turns.append(main.turn("subagent's report", Text(text="The family is Gentianaceae; the label fits at 9 points.")))
    session.prompts += 1
    main.prompt("Write the family into the sheet.", injected=(texts.PROMPT_HOOK,))
    change = {"old_string": "family: null", "new_string": "family: Gentianaceae"}
    edit = ToolUse(name="Edit", input={"file_path": f"{PROJECT}/sheets/0412.yaml", **change})
    turns.append(main.turn("second prompt", edit))
    main.results("The file has been updated.")
    turns.append(main.turn("Edit result", Text(text="Done: `sheets/0412.yaml` line 3 names the family now.")))
    return turns


def long_conversation(turns: int = 200, *, bytes_per_turn: int = 5900, seed: int = 1) -> Iterator[Turn]:
    """One conversation whose every request sends all that came before, with a subagent every 25 turns.

    With the defaults the bodies grow from some 60 KB to 1.3 MB, 137 MB in all, of which 1.7 MB are distinct. Turns are
    made one by one, because all of them together would not fit in a small machine's memory.
    """
    session = Session(name=f"long{seed}")
    prose = Prose(seed)
    more = [texts.tool(f"Tool{n:02d}", prose.paragraph(2600), target=prose.paragraph(200)) for n in range(18)]
    main = Dialogue(session, system=_system(), tools=[*more, *texts.BUILT_IN_TOOLS])
    main.prompt(prose.paragraph(300), reminders=(texts.MEMORY,), injected=_first_injection(session))
    for number in range(1, turns + 1):
        path = f"{PROJECT}/src/{prose.word()}_{number}.py"
        call = ToolUse(name="Read", input={"file_path": path})
        words = Text(text=prose.paragraph(bytes_per_turn // 10))
        if number % 25 == 0:
            yield from _reader(session, prose, number)
        if number % 10 == 0:
            yield main.turn(f"turn {number}", words)
            session.prompts += 1
            main.prompt(prose.paragraph(bytes_per_turn * 7 // 8), injected=(texts.PROMPT_HOOK,))
        else:
            yield main.turn(f"turn {number}", words, call)
            main.results(prose.listing(bytes_per_turn * 7 // 8))


def _reader(session: Session, prose: Prose, number: int) -> Iterator[Turn]:
    """Have a subagent read one long file: content that the main conversation never sees."""
    dialogue = _agent_dialogue(session, Agent(id=f"{number:017x}"), prose.paragraph(200))
    read = ToolUse(name="Read", input={"file_path": f"{PROJECT}/log/{number}.txt"})
    yield dialogue.turn(f"subagent {number}", read)
    dialogue.results(prose.listing(40_000))
    yield dialogue.turn(f"subagent {number}: read", Text(text=prose.paragraph(400)))


def _subagent(session: Session, task: str, report: str) -> Iterator[Turn]:
    dialogue = _agent_dialogue(session, _BOTANIST, task)
    read = ToolUse(name="Read", input={"file_path": f"{PROJECT}/sheets/0412.yaml"})
    yield dialogue.turn("subagent begins", read)
    dialogue.results(texts.SHEET, injected=(texts.MCP_INSTRUCTIONS,))
    yield dialogue.turn("subagent read the sheet", Text(text=report))


def _agent_dialogue(session: Session, agent: Agent, task: str) -> Dialogue:
    own = [
        {"type": "text", "text": text, "cache_control": EPHEMERAL} for text in (texts.IDENTITY, texts.SUBAGENT_PROMPT)
    ]
    tools = [tool for tool in texts.BUILT_IN_TOOLS if tool["name"] in {"Read", "Bash"}]
    dialogue = Dialogue(session, system=own, tools=tools, agent=agent)
    surroundings = (texts.ENVIRONMENT, _model_line(session), texts.DATE_LINE)
    dialogue.prompt(task, reminders=(texts.MEMORY, texts.ATTRIBUTION), injected=surroundings)
    return dialogue


def _system() -> list[dict[str, object]]:
    return [
        {"type": "text", "text": texts.IDENTITY},
        {"type": "text", "text": texts.FRAMEWORK_STATIC, "cache_control": _GLOBAL},
        {"type": "text", "text": texts.FRAMEWORK_DYNAMIC, "cache_control": EPHEMERAL},
    ]


def _first_injection(session: Session) -> tuple[str, ...]:
    """List what the client injects at a session's start, in its order."""
    return (
        texts.SESSION_HOOK,
        texts.ENVIRONMENT,
        _model_line(session),
        texts.DEFERRED_TOOLS,
        texts.AGENTS,
        texts.MCP_INSTRUCTIONS,
        texts.SKILLS,
        texts.PROMPT_HOOK,
        texts.DATE_LINE,
    )


def _model_line(session: Session) -> str:
    return texts.MODEL_LINE.format(name=session.model.removeprefix("claude-"), id=session.model)
