"""Finds out what part each block plays: prompt, reminder, command, skill body, result, ...

Apart because this is where position counts and text alone is never believed: a marker typed by a person, printed by a
tool or written by the model looks like the client's. The client puts its reminders and command blocks into certain
places, and every turn that is not an answer to tools has a prompt; the functions here say which places those are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.containers import mention_path
from claudeproxy.attribution.names import agent_source, command_source, skill_source, tool
from claudeproxy.attribution.prompts import COUNT, PromptReader, tagged_hook
from claudeproxy.attribution.scene import Place, Role, Scene
from claudeproxy.attribution.shapes import has_failed
from claudeproxy.attribution.turns import KEY_BYTES, Message, turn_key, turns
from claudeproxy.model import Source, SourceType
from claudeproxy.sansio.messages import BlockSpan, Section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.attribution.turns import TurnMemory
    from claudeproxy.attribution.views import BlockView, ToolUse

AGENT_TOOLS = frozenset({"Task", "Agent"})
UNKNOWN_TOOL = "unknown tool"
NOTIFICATION = "[SYSTEM NOTIFICATION"
_TASK = "<task-notification>"

_SYSTEM = Place(role=Role.SYSTEM, kind="instructions")

_HOOK_APART = ("<system-reminder>\nPostToolUse:", "<system-reminder>\nPreToolUse:")
_NOTIFIED = re.compile(r"<tool-use-id>([^<\n]{1,200})</tool-use-id>")


def find_places(
    blocks: Sequence[BlockSpan],
    views: Sequence[BlockView],
    uses: Mapping[str, ToolUse],
    scene: Scene,
    *,
    request_class: str | None = None,
    memory: TurnMemory | None = None,
    number: int = 0,
) -> list[Place]:
    """Return the place of every block, in the order of `blocks`.

    :param memory: turns placed before, in this conversation or another; `number` stands for `scene` in its keys.
    """
    tools = [view for block, view in zip(blocks, views, strict=True) if block.section is Section.TOOLS]
    places = [*_tool_places(tools, scene, memory, number), *[_SYSTEM] * (len(blocks) - len(tools))]
    messages: list[Message] = []
    at = -1  # the message
    for position in range(len(tools), len(blocks)):
        block = blocks[position]
        if block.message_index != at:
            at = block.message_index
            messages.append(Message(block.role, position))
        if at >= 0:
            messages[-1].views.append(views[position])
    for turn in turns(messages):
        first = turn[0] is messages[0]
        start, stop = turn[0].start, turn[-1].positions.stop
        key = turn_key(turn, uses, number, request_class, first) if memory is not None else ()
        if memory is not None and (known := memory.recall(key)) is not None:
            places[start:stop] = known
            continue
        _place_turn(turn, places, uses, scene, request_class, first=first)
        # A notification may name any call before it: not remembered.
        if memory is not None and not any(NOTIFICATION in view.words for message in turn for view in message.views):
            memory.remember(key, tuple(places[start:stop]), KEY_BYTES * (stop - start))
    return places


def _tool_places(views: list[BlockView], scene: Scene, memory: TurnMemory | None, number: int) -> Sequence[Place]:
    """Return the places of a request's tools, which are the same for all of a conversation."""
    key = (number, Section.TOOLS, *(view.digest for view in views))
    if memory is not None and (known := memory.recall(key)) is not None:
        return known
    places = tuple(_tool_place(view, scene) for view in views)
    return places if memory is None else memory.remember(key, places, KEY_BYTES * len(places))


def _place_turn(
    turn: list[Message],
    places: list[Place],
    uses: Mapping[str, ToolUse],
    scene: Scene,
    request_class: str | None,
    *,
    first: bool,
) -> None:
    if turn[0].role == "assistant":
        for position, view in zip(turn[0].positions, turn[0].views, strict=True):
            if view.answers is None:
                places[position] = _assistant_place(view, scene)
            else:  # results of the API's own tools stand in the assistant's message
                places[position] = _result_place(view, uses.get(view.answers), scene)
        return
    prompted = scene.claude_code and request_class != COUNT  # a size is also asked of less than a whole turn
    fake = _prompt_that_imitates(turn, scene) if prompted else None
    mention: str | None = None
    for message in turn:
        answered = [uses[view.answers] for view in message.views if view.answers is not None and view.answers in uses]
        tools = frozenset(use.name for use in answered)
        paths = frozenset(use.path for use in answered if use.path)
        # 1.x has tags of its own for hooks; later ones put them behind the result, or into it.
        apart = (scene.version or "").startswith("1.") or _hooks_apart(message)
        reader = PromptReader(
            message.views, answered, scene, first=first, request_class=request_class, prompted=fake is not None
        )
        for number, (position, view) in enumerate(zip(message.positions, message.views, strict=True)):
            if view.answers is not None:
                places[position] = replace(
                    _result_place(view, uses.get(view.answers), scene),
                    turn_tools=tools,
                    turn_paths=paths,
                    apart=apart,
                )
            elif message.role == "system" or (scene.claude_code and view.is_reminder and view is not fake):
                mention = mention_path(view.words) or mention
                places[position] = Place(
                    role=Role.INJECTED,
                    mention=mention,
                    notified=_notified(view, uses, scene),
                    spoken=not scene.claude_code,
                )
            else:
                places[position] = reader.place(number)


def _hooks_apart(message: Message) -> bool:
    """Tell whether hooks' reminders stand in blocks of their own: with text between the results both ways occur."""
    if any(view.text is not None and not view.is_reminder for view in message.views):
        return False
    return any(view.words.startswith(_HOOK_APART) for view in message.views)


def _notified(view: BlockView, uses: Mapping[str, ToolUse], scene: Scene) -> tuple[tuple[str, Source], ...]:
    """Return whose results the notifications in a text bring: background calls name the call that began them."""
    named = _NOTIFIED.findall(view.words) if NOTIFICATION in view.words or _TASK in view.words else ()
    return tuple((use_id, _use_source(uses[use_id], scene)) for use_id in dict.fromkeys(named) if use_id in uses)


def _prompt_that_imitates(turn: list[Message], scene: Scene) -> BlockView | None:
    """Return the reminder-like block that must be a typed prompt: a turn without results has a prompt somewhere."""
    texts = [
        view
        for message in turn
        if message.role != "system"
        for view in message.views
        if view.text is not None
        and not view.words.startswith("<available-deferred-tools>\n")
        and tagged_hook(view.words, scene) is None
    ]
    if any(view.text is None for message in turn for view in message.views):
        return None  # results, or a prompt without words: a picture alone
    if not texts or any(not view.is_reminder or NOTIFICATION in view.words[:80] for view in texts):
        return None
    return texts[-1]


def _tool_place(view: BlockView, scene: Scene) -> Place:
    name = view.tool_name or view.type or UNKNOWN_TOOL
    source = scene.servers.tool_source(name) or tool(name)
    return Place(
        role=Role.TOOL, source=source, kind="schema", rule="tool.schema", confidence=scene.servers.certainty(name)
    )


def _assistant_place(view: BlockView, scene: Scene) -> Place:
    if view.use is not None:
        source = _use_source(view.use, scene)
        if source.type is SourceType.TOOL:  # what the model wrote to a built-in tool is the model's
            source = Source(type=SourceType.ASSISTANT, name="tool calls")
        name = view.use.name
        sure = scene.servers.certainty(name)
        return Place(
            role=Role.ASSISTANT, source=source, kind="call", rule="assistant.call", evidence=name, confidence=sure
        )
    kind = "thinking" if "thinking" in view.type else "text"
    return Place(
        role=Role.ASSISTANT,
        source=Source(type=SourceType.ASSISTANT, name=kind),
        kind=kind,
        rule=f"assistant.{kind}",
    )


def _use_source(use: ToolUse, scene: Scene) -> Source:
    """Return whose call this is, and so whose result answers it."""
    if (server := scene.servers.tool_source(use.name)) is not None:
        return server
    if use.server is not None and use.name != "ListMcpResourcesTool":
        return scene.servers.written(use.server)
    if not scene.claude_code:  # a program's own tool may have any name
        return tool(use.name)
    if use.name == "Skill" and use.skill is not None:
        return skill_source(use.skill)
    if use.name == "SlashCommand" and use.skill is not None:
        return command_source(use.skill.split(" ")[0])
    if use.name in AGENT_TOOLS:
        return agent_source(use.agent or "general-purpose")
    return tool(use.name)


def _result_place(view: BlockView, use: ToolUse | None, scene: Scene) -> Place:
    if use is None:
        source, rule, confidence = tool(UNKNOWN_TOOL), "result.unknown-call", 0.3
    elif _is_blocked(view, use):
        source = Source(type=SourceType.HOOK, name=f"PreToolUse:{use.name}")
        rule, confidence = "result.blocked", 0.9  # a server's tool could fail with the same words
    else:
        source, rule, confidence = _use_source(use, scene), "result.call", scene.servers.certainty(use.name)
    return Place(
        role=Role.RESULT,
        source=source,
        kind="result",
        rule=rule,
        evidence=use.name if use is not None else view.answers,
        confidence=confidence,
    )


def _is_blocked(view: BlockView, use: ToolUse) -> bool:
    """Tell whether a hook forbade the call: then the tool never ran, and the hook's words stand in its result."""
    content = view.members.get("content")
    if content is None or not has_failed(view):
        return False
    forms = (f'"PreToolUse:{use.name} hook error: ', f'"{use.name} operation blocked by hook:\\n')  # the latter: 1.x
    return view.raw.startswith(tuple(form.encode() for form in forms), content.start)
