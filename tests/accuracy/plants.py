"""What is planted, and whose it is: the table that the accuracy proof compares every captured request with.

Each planted text carries its mark, ``zz-KEY-zz``, in every paragraph. A plant's row says whose text it is where the
client itself brings it; what a mark means where a tool printed it or the model wrote it is decided by position
(`oracle`). Nothing here looks at the engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from claudeproxy.model import SourceType

MARK = re.compile(r"zz-([a-z0-9-]+?)-zz")

FIRST = "1.0.128"  # knows no plugins, no skills, no system prompt of the user's


def mark(key: str) -> str:
    """The mark of a plant, as it stands in the planted text."""
    return f"zz-{key}-zz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One planted text. `names` are templates over ``{project}`` and ``{home}``; an empty tuple stands for no name.

    `glued`: the client itself may put it into a tool's result. `described`: it may stand in a built-in tool's
    description (older clients keep their listings there).
    """

    key: str
    type: SourceType
    names: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    via: str | None = None
    plugin: str | None = None
    glued: bool = False
    described: bool = False


def _plant(
    key: str,
    kind: SourceType,
    name: str | tuple[str, ...] = (),
    kinds: str = "",
    *,
    via: str | None = None,
    plugin: str | None = None,
    glued: bool = False,
    described: bool = False,
) -> Plant:
    return Plant(
        key=key,
        type=kind,
        names=(name,) if isinstance(name, str) else name,
        kinds=frozenset(kinds.split()),
        via=via,
        plugin=plugin,
        glued=glued,
        described=described,
    )


_S = SourceType
_SUB = "{project}/sub"
_TUNE = ("toolbox:fine.tune", "toolbox:fine-tune")  # the newest client writes the latter
ODD_SERVERS = {"dotted": "desk_eu", "doubled": "x__y", "digits": "42", "letter": "k"}  # as inside tools' names

PLANTS = (
    # What the person gives.
    _plant("prompt-one", _S.USER, kinds="prompt"),
    _plant("prompt-imitation", _S.USER, kinds="prompt"),
    _plant("prompt-wrapped", _S.USER, kinds="prompt"),
    _plant("prompt-mentions", _S.USER, kinds="prompt"),
    _plant("prompt-after", _S.USER, kinds="prompt"),
    _plant("prompt-other", _S.USER, kinds="prompt"),
    _plant("streamed", _S.USER, kinds="prompt"),
    _plant("compact-args", _S.USER, kinds="instructions"),
    _plant("append", _S.USER, kinds="instructions"),
    _plant("system-prompt", _S.USER, kinds="instructions"),
    # Memory of every kind.
    _plant("memory-user", _S.MEMORY, "{home}/.claude/CLAUDE.md", "body"),
    _plant("memory-project", _S.MEMORY, "{project}/CLAUDE.md", "body"),
    _plant("memory-import", _S.MEMORY, "{project}/docs/imported.md", "body"),
    _plant("memory-import-deep", _S.MEMORY, "{project}/docs/deeper/again.md", "body"),
    _plant("memory-deep", _S.MEMORY, f"{_SUB}/deep/CLAUDE.md", "body", glued=True),
    _plant("memory-deep-import", _S.MEMORY, f"{_SUB}/deep/notes.md", "body", glued=True),
    _plant("memory-leaf-rule", _S.MEMORY, "{project}/.claude/rules/of leaves/leaf.md", "body", glued=True),
    _plant("memory-rule", _S.MEMORY, "{project}/.claude/rules/style.md", "body"),
    _plant("memory-path-rule", _S.MEMORY, "{project}/.claude/rules/sub-only.md", "body", glued=True),
    _plant("memory-local", _S.MEMORY, "{project}/CLAUDE.local.md", "body"),
    _plant("memory-nested", _S.MEMORY, f"{_SUB}/CLAUDE.md", "body", glued=True),
    _plant("memory-auto", _S.MEMORY, "{auto}/MEMORY.md", "body"),
    # Hooks.
    _plant("hook-startup", _S.HOOK, ("SessionStart:startup", "SessionStart"), "body"),
    _plant("hook-resume", _S.HOOK, ("SessionStart:resume", "SessionStart"), "body"),
    _plant("hook-compact", _S.HOOK, ("SessionStart:compact", "SessionStart"), "body"),
    _plant("hook-json", _S.HOOK, tuple(f"SessionStart{s}" for s in ("", ":startup", ":resume", ":compact")), "body"),
    _plant("hook-crlf", _S.HOOK, "UserPromptSubmit", "body"),
    _plant("hook-failure", _S.HOOK, ("PostToolUseFailure:Bash", "PostToolUseFailure"), "body", glued=True),
    _plant("hook-post-mcp", _S.HOOK, ("PostToolUse:mcp__k__go", "PostToolUse"), "body", glued=True),
    _plant("hook-subagent-stop", _S.HOOK, "SubagentStop", "body"),
    _plant("hook-prompt", _S.HOOK, "UserPromptSubmit", "body"),
    _plant("hook-prompt-context", _S.HOOK, "UserPromptSubmit", "body"),
    _plant("hook-post-bash", _S.HOOK, ("PostToolUse:Bash", "PostToolUse"), "body", glued=True),
    _plant("hook-post-read", _S.HOOK, ("PostToolUse:Read", "PostToolUse"), "body", glued=True),
    _plant("hook-post-error", _S.HOOK, ("PostToolUse:Read", "PostToolUse"), "body error", glued=True),
    _plant("hook-pre-bash", _S.HOOK, "PreToolUse:Bash", "body", glued=True),
    _plant("hook-pre-error", _S.HOOK, "PreToolUse:Bash", "body error", glued=True),
    _plant("hook-pre-deny", _S.HOOK, "PreToolUse:Bash", "body error", glued=True),
    _plant("hook-post-second", _S.HOOK, ("PostToolUse:Bash", "PostToolUse"), "body", glued=True),
    _plant("hook-stop", _S.HOOK, "Stop", "body"),
    _plant("hook-subagent", _S.HOOK, "SubagentStart", "body"),
    # Skills, commands, agents, output style.
    _plant("skill-desc", _S.SKILL, "vectorize", "listing", glued=True, described=True),
    _plant("skill-body", _S.SKILL, "vectorize", "body"),
    _plant("skill-args", _S.SKILL, "vectorize", "arguments call body"),
    _plant("home-skill-desc", _S.SKILL, "housekeeping", "listing", glued=True, described=True),
    _plant("fork-desc", _S.SKILL, "survey", "listing", glued=True, described=True),
    _plant("fork-body", _S.SKILL, "survey", "body prompt"),
    _plant("plugin-skill-desc", _S.SKILL, "toolbox:polish", "listing", plugin="toolbox", glued=True, described=True),
    _plant("plugin-skill-body", _S.SKILL, "toolbox:polish", "body", plugin="toolbox"),
    _plant("tune-desc", _S.SKILL, _TUNE, "listing", plugin="toolbox", glued=True, described=True),
    _plant("tune-body", _S.SKILL, _TUNE, "body", plugin="toolbox"),
    _plant("foreign-desc", _S.SKILL, "räumen", "listing", glued=True, described=True),
    _plant("foreign-body", _S.SKILL, "räumen", "body"),
    _plant("undescribed", _S.SKILL, "silent", "listing body", glued=True, described=True),
    _plant("folder-desc", _S.SKILL, "garden:water", "listing", glued=True, described=True),
    _plant("folder-body", _S.COMMAND, "garden:water", "body"),
    _plant("folder-args", _S.COMMAND, "garden:water", "body call"),
    _plant("command-desc", _S.SKILL, "mycmd", "listing", glued=True, described=True),
    _plant("command-body", _S.COMMAND, "mycmd", "body"),
    _plant("command-args", _S.COMMAND, "mycmd", "body call"),
    _plant("agent-desc", _S.AGENT, "planner", "listing", glued=True, described=True),
    _plant("agent-system", _S.AGENT, "planner", "instructions"),
    _plant("agent-prompt", _S.AGENT, "planner", "prompt"),
    _plant("agent-report", _S.AGENT, "planner", "result"),
    _plant("plugin-agent-desc", _S.AGENT, "toolbox:inspector", "listing", plugin="toolbox", glued=True, described=True),
    _plant("long-agent-desc", _S.AGENT, "long-winded", "listing", glued=True, described=True),
    _plant("inline-agent-desc", _S.AGENT, "scribe", "listing", glued=True, described=True),
    _plant("inline-agent-system", _S.AGENT, "scribe", "instructions"),
    _plant("inline-agent-prompt", _S.AGENT, "scribe", "prompt"),
    _plant("inline-agent-report", _S.AGENT, "scribe", "result"),
    _plant("style-body", _S.FRAMEWORK, "output style", "instructions"),
    # MCP servers.
    *(
        plant
        for key, server in {"docs": "docs", "my-server": "my_server", **ODD_SERVERS}.items()
        for plant in (
            _plant(f"{key}-desc", _S.MCP_SERVER, server, "schema"),
            _plant(f"{key}-param", _S.MCP_SERVER, server, "schema"),
            _plant(f"{key}-instructions", _S.MCP_SERVER, server, "instructions", glued=True),
            _plant(f"{key}-result", _S.MCP_SERVER, server, "result"),
        )
    ),
    _plant("docs-prompt", _S.MCP_SERVER, "docs", "prompt"),
    _plant("docs-resource", _S.MCP_SERVER, "docs", "result"),
    _plant("docs-resource-desc", _S.MCP_SERVER, "docs", "result listing"),
    _plant("my-server-error", _S.MCP_SERVER, "my_server", "error"),
    _plant("proxy-instructions", _S.MCP_SERVER, "proxy", "instructions", glued=True),
    _plant("context7-desc", _S.MCP_SERVER, "context7", "schema", via="proxy"),
    _plant("context7-result", _S.MCP_SERVER, "context7", "result", via="proxy"),
    _plant("deepwiki-desc", _S.MCP_SERVER, "deepwiki", "schema", via="proxy"),
    _plant("broken", _S.MCP_SERVER, "zz-broken-zz", "error notice"),
    _plant("bench-desc", _S.MCP_SERVER, "bench", "schema", plugin="toolbox"),
    _plant("bench-instructions", _S.MCP_SERVER, "bench", "instructions", plugin="toolbox", glued=True),
    _plant("bench-result", _S.MCP_SERVER, "bench", "result", plugin="toolbox"),
    # Files, pictures, documents; what the client says itself; what the model wrote.
    _plant("mention", _S.ATTACHMENT, "{project}/mentioned.txt", "body"),
    _plant("file", _S.ATTACHMENT, f"{_SUB}/file.txt", "body"),
    _plant("leaf", _S.ATTACHMENT, f"{_SUB}/deep/leaf.txt", "body"),
    _plant("refused", _S.ATTACHMENT, "{project}/refused.txt", "body"),
    # Marks in files' names: a sentence that holds one belongs to whoever wrote the sentence.
    _plant("picture", _S.ATTACHMENT, "{project}/zz-picture-zz.png"),
    _plant("document", _S.ATTACHMENT, "{project}/zz-document-zz.pdf"),
    _plant("commit", _S.FRAMEWORK, "git status", "text"),
    _plant("todo", _S.FRAMEWORK, "task reminder", "reminder", glued=True),
    _plant("bash-result", _S.TOOL, "Bash", "result"),
    _plant("bash-imitation", _S.TOOL, "Bash", "result"),
    _plant("bash-forgery", _S.TOOL, "Bash", "result"),
    _plant("said", _S.ASSISTANT, "text"),
    _plant("thought", _S.ASSISTANT, "thinking"),
    _plant("summary", _S.COMPACTION, "summary", "body"),
)
BY_KEY = {plant.key: plant for plant in PLANTS}
assert len(BY_KEY) == len(PLANTS)
