"""Gathers what a whole request says: who sent it, which servers and tool calls there are, the scene for explanations.

Apart because these facts come from all over the request (tools, listings, calls, earlier blocks of a thread), while
everything after them looks at one block.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from claudeproxy.attribution.identity import CLAUDE_CODE, counts_tokens, identify
from claudeproxy.attribution.names import gather_servers
from claudeproxy.attribution.plugins import spelled_plugins, used_plugins
from claudeproxy.attribution.prompts import is_compaction_request
from claudeproxy.attribution.scene import Scene
from claudeproxy.attribution.system import is_identity
from claudeproxy.attribution.witness import spelled_elsewhere
from claudeproxy.sansio.messages import BILLING_HEADER, Section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.attribution.identity import Hints
    from claudeproxy.attribution.views import BlockView, ToolUse
    from claudeproxy.model import AgentCall, Evidence, Identity
    from claudeproxy.sansio.messages import BlockSpan, RequestLayout


def identify_request(
    cut: RequestLayout,
    views: Sequence[BlockView],
    hints: Hints,
    strings: Mapping[str, str],
    evidence: Evidence | None = None,
    *,
    path: str | None = None,
) -> Identity:
    """Return who sent the request: what `identity` makes of the hints, of the URL's path and of what the body shows."""
    # Those stand first, so that a long conversation behind them costs nothing here.
    before = list(takewhile(lambda pair: pair[0].section is not Section.MESSAGES, zip(cut.blocks, views, strict=True)))
    system = [view.words for block, view in before if block.section is Section.SYSTEM]
    tools = [view for block, view in before if block.section is Section.TOOLS]
    claude_code = hints.client()[0] == CLAUDE_CODE or any(
        text.startswith(BILLING_HEADER) or is_identity(text) for text in system
    )

    def started_by(session_id: str) -> AgentCall | None:
        prompt = _first_prompt(cut.blocks, views)
        call = evidence.agent_call(session_id, prompt) if evidence is not None and prompt else None
        if call is None or any(view.use is not None and view.use.id == call.id for view in views):
            return None  # whoever holds the call made it: its prompt repeats words of this conversation's own
        return call

    return identify(
        hints,
        strings,
        system,
        claude_code=claude_code,
        has_tools=any(view.type in {"", "custom"} for view in tools),
        bare=_is_bare(cut.blocks, views),
        counts=counts_tokens(path),
        unlimited=all(member.key != "max_tokens" for member in cut.members),
        compacts=bool(cut.blocks) and is_compaction_request(cut.blocks[-1].role, views[-1].words),
        project=_project(cut.blocks, views) if claude_code else None,
        begins_prompt=_begins_prompt(cut.blocks, views),
        started_by=started_by,
    )


def _first_prompt(blocks: Sequence[BlockSpan], views: Sequence[BlockView]) -> str:
    """Return the last plain text before the first answer: what a subagent was asked (wire.md, 3.2)."""
    inside = [(b, v) for b, v in zip(blocks, views, strict=True) if b.section is Section.MESSAGES]
    opening = takewhile(lambda pair: pair[0].role != "assistant", inside)
    first = [view for block, view in opening if block.role == "user"]  # 2.1.100 has a list of tools before it
    return next((view.words for view in reversed(first) if view.words and not view.is_reminder), "")


def _begins_prompt(blocks: Sequence[BlockSpan], views: Sequence[BlockView]) -> bool:
    """Tell whether what stands behind the last answer is a prompt: it answers no tool call."""
    said = False
    for block, view in zip(reversed(blocks), reversed(views), strict=True):
        if block.section is not Section.MESSAGES or block.role == "assistant":
            break
        if view.answers is not None:
            return False
        said = said or block.role == "user"
    return said


def _is_bare(blocks: Sequence[BlockSpan], views: Sequence[BlockView]) -> bool:
    """Tell whether there is one message and nothing injected: like side calls, unlike the client's conversations."""
    if blocks and blocks[-1].message_index > 0:
        return False
    inside = [view for block, view in zip(blocks, views, strict=True) if block.section is Section.MESSAGES]
    return not any(view.is_reminder for view in inside)


def _project(blocks: Sequence[BlockSpan], views: Sequence[BlockView]) -> str | None:
    """Return the working directory: from where the client writes it, the first that says so."""
    for block, view in zip(blocks, views, strict=True):
        if view.cwd is not None and (block.role == "system" or view.is_reminder):
            return view.cwd
    return None


def gather_facts(
    blocks: Sequence[BlockSpan], views: Sequence[BlockView], identity: Identity, evidence: Evidence | None = None
) -> tuple[dict[str, ToolUse], Scene]:
    """Return the conversation's tool calls by id, and the scene.

    `evidence` is asked for servers' names where this request leaves open where one ends in a tool's name.
    """
    placed = [(block.section, block.role, view) for block, view in zip(blocks, views, strict=True)]
    uses: dict[str, ToolUse] = {}
    tools: set[str] = set()
    named: set[str] = set()
    glued: set[str] = set()
    plugins: set[str] = set()
    skills: set[str] = set()
    for section, role, view in placed:
        if view.use is not None and role == "assistant":
            uses[view.use.id] = view.use
            tools.add(view.use.name)
            skills.update([view.use.skill] if view.use.skill and ":" in view.use.skill else ())
        elif section is Section.TOOLS and view.tool_name:
            tools.add(view.tool_name)
            plugins.update(view.plugins)
            skills.update(view.skills)
        elif view.answers is not None:
            glued.update(view.headings)
        elif (view.tool_names or view.headings or view.plugins) and _may_list(section, role, view):
            tools.update(view.tool_names)
            named.update(view.headings)
            plugins |= spelled_plugins(view)
    agent = _agent_name(identity)
    spoken = any(role == "system" and section is Section.MESSAGES for section, role, _view in placed)
    glues = identity.client == CLAUDE_CODE and not spoken
    named |= glued if glues else set()  # a heading in a result can do no more than say where a tool's server ends
    plugins.update([agent.partition(":")[0]] if agent and ":" in agent else ())
    roots = used_plugins((view.words for _section, role, view in placed if role == "user"), uses)
    plugins.update(plugin for plugin, _root in roots)
    servers = gather_servers(tools, named)
    if servers.guessed and evidence is not None:
        servers = gather_servers(tools, named | spelled_elsewhere(tools, servers, identity.session_id, evidence))
    return uses, Scene(
        servers=servers,
        claude_code=identity.client == CLAUDE_CODE,
        version=identity.client_version,
        cwd=identity.project,
        agent=agent,
        auxiliary=_is_side_call(identity, blocks),
        glues=glues,
        plugins=frozenset(plugins),
        skill_roots=frozenset(roots),
        skills=frozenset(skills),
    )


def _may_list(section: Section, role: str, view: BlockView) -> bool:
    """Tell whether this block can hold the client's listings: what people and tools write names no servers."""
    return (
        section is Section.SYSTEM
        or role == "system"
        or view.is_reminder
        or view.words.startswith("<available-deferred-tools>\n")
    )


def _is_side_call(identity: Identity, blocks: Sequence[BlockSpan]) -> bool:
    """Tell whether Claude Code asks on its own account: a side call, or the size of one piece of text."""
    if identity.client != CLAUDE_CODE:
        return False
    alone = not blocks or blocks[-1].message_index <= 0
    return identity.request_class == "auxiliary" or (identity.request_class == "count_tokens" and alone)


def _agent_name(identity: Identity) -> str | None:
    """Return the subagent's type; ``custom`` is all that the client says about an agent of the user's."""
    if identity.request_class != "subagent" and identity.agent_type is None:
        return None
    return identity.agent_type or "unknown"
