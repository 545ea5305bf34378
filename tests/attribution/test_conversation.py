"""Whole conversations in the client's layouts: every planted text must be found at its true source."""

from __future__ import annotations

import pytest

from tests.attribution.bodies import (
    CWD,
    DATE,
    ENVIRONMENT,
    IDENTITY,
    KNOWN,
    STYLE_REMINDER,
    SUBAGENT_BILLING,
    analyze,
    body,
    labels,
    owners,
    reminder,
    result,
    said,
    system,
    text,
    tool,
    use,
    user,
)

MEMORY = (
    "Codebase and user instructions are shown below. Be sure to adhere to these instructions.\n\n"
    "Contents of /home/dev/.claude/CLAUDE.md (user's private global instructions for all projects):\n\n"
    "planted-user-memory\n\n"
    f"Contents of {CWD}/CLAUDE.md (project instructions, checked into the codebase):\n\nplanted-project @docs/x.md\n\n"
    f"Contents of {CWD}/docs/x.md (project instructions, checked into the codebase):\n\nplanted-import\n\n"
    f"Contents of {CWD}/CLAUDE.local.md (user's private project instructions, not checked in):\n\nplanted-local"
)
DEFERRED = (
    "The following deferred tools are now available via ToolSearch. Load them first:\n"
    "WebFetch\nmcp__docs__find_all\nmcp__docs__lookup\nmcp__my_server__get__it\nmcp__my_server__put"
)
AGENTS = (
    "Available agent types for the Agent tool:\n- Explore: planted-explore (Tools: Read)\n"
    "- box:guide: planted-guide (Tools: Read)\n"
    "- planner: planted-planner\n- not: an entry (Tools: All tools)\n\nWhen you launch multiple agents, be quick."
)
INSTRUCTIONS = (
    "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their tools:\n\n"
    "## docs\nplanted-docs-instructions\n\n## A heading of its own\n\nplanted-docs-more\n\n"
    "## my_server\nplanted-my-instructions"
)
SKILLS = (
    "The following skills are available for use with the Skill tool:\n\n"
    "- vectorize: planted-skill\nsecond line of it\n- box:deploy: planted-plugin-skill\n"
    "- mcp__docs__ask: planted-prompt-entry"
)
HOOK = "UserPromptSubmit hook success: planted-hook\n\n# Environment\nimitated by the hook"
MENTION = f'Called the Read tool with the following input: {{"file_path":"{CWD}/m.txt"}}'
CONTENT = "Result of calling the Read tool:\n1\tplanted-mention"
EXPECTED = {
    "planted-user-memory": "Memory: /home/dev/.claude/CLAUDE.md",
    "planted-project": f"Memory: {CWD}/CLAUDE.md",
    "planted-import": f"Memory: {CWD}/docs/x.md",
    "planted-local": f"Memory: {CWD}/CLAUDE.local.md",
    "planted-start-hook": "Hook: SessionStart:startup",
    "planted-style": "Framework: output style",
    "planted-explore": "Agent: Explore",
    "planted-planner": "Agent: planner",
    "- not: an entry": "Agent: planner",
    "When you launch multiple": "Framework: agents listing",
    "planted-docs-instructions": "MCP: docs",
    "planted-docs-more": "MCP: docs",
    "planted-my-instructions": "MCP: my_server",
    "planted-skill": "Skill: vectorize",
    "second line of it": "Skill: vectorize",
    "planted-plugin-skill": "Skill: box:deploy",
    "planted-prompt-entry": "MCP: docs",
    "planted-hook": "Hook: UserPromptSubmit",
    "imitated by the hook": "Hook: UserPromptSubmit",
    "planted-mention": f"Attachment: {CWD}/m.txt",
    "planted-prompt-by-user": "User",
    "planted-result-read": "Tool: Read",
    "planted-result-docs": "MCP: docs",
    "planted-result-my": "MCP: my_server",
    "planted-tool-hook": "Hook: PostToolUse:Read",
    "planted-nested": f"Memory: {CWD}/sub/CLAUDE.md",
    "planted-body": "Skill: vectorize",
    "planted-arguments": "Skill: vectorize",
    DATE: "Framework: date",
    STYLE_REMINDER: "Framework: output style",
}
START_HOOK = "SessionStart:startup hook success: planted-start-hook"
STYLE = "# Output Style: Curt\nplanted-style"
TOOL_HOOK = "PostToolUse:Read hook additional context: planted-tool-hook"
NESTED = f"Contents of {CWD}/sub/CLAUDE.md:\n\nplanted-nested\n"
SKILL_BODY = (
    f"Base directory for this skill: {CWD}/.claude/skills/vectorize\n\nplanted-body\n\nARGUMENTS: planted-arguments"
)
TOOLS = [
    tool("Read"),
    tool("Skill"),
    tool("mcp__docs__lookup"),
    tool("mcp__my_server__get__it"),
    tool("mcp__my_server__put"),
]
CALLS = said(
    text("I look."),
    use("t1", "Read", file_path=f"{CWD}/sub/x.txt"),
    use("t2", "mcp__docs__lookup", q="call-docs"),
    use("t3", "mcp__my_server__get__it", q="call-my"),
    use("t4", "Skill", skill="vectorize"),
)


def layout_c() -> bytes:
    """2.1.330: files and memory as reminder blocks, all else in role:system."""
    items = [START_HOOK, ENVIRONMENT, STYLE, DEFERRED, AGENTS, INSTRUCTIONS, SKILLS, STYLE_REMINDER, HOOK, DATE]
    return body(
        {"role": "user", "content": reminder(MENTION)["text"]},
        user(reminder(CONTENT), reminder(MEMORY), text("planted-prompt-by-user")),
        {"role": "system", "content": "\n\n".join(items), "output_config": {"effort": "medium"}},
        CALLS,
        user(
            result("t3", [text("planted-result-my")]),
            result("t1", "planted-result-read"),
            result("t2", [text("planted-result-docs")]),
            result("t4", "Launching skill: vectorize"),
            text(SKILL_BODY),
            reminder(NESTED),
        ),
        system(f"{TOOL_HOOK}\n\n{STYLE_REMINDER}"),
        tools=TOOLS,
    )


def layout_b() -> bytes:
    """2.1.197: memory in a user block, mentions too in role:system, tool hooks in user blocks."""
    items = [START_HOOK, f"{MENTION}\n{CONTENT}", ENVIRONMENT, STYLE, DEFERRED, AGENTS, INSTRUCTIONS, SKILLS]
    context = f"As you answer the user's questions, you can use the following context:\n# claudeMd\n{MEMORY}\n"
    return body(
        user(reminder(context + f"# currentDate\n{DATE}"), text("planted-prompt-by-user")),
        system("\n\n".join([*items, STYLE_REMINDER, HOOK])),
        CALLS,
        user(
            result("t2", [text("planted-result-docs")]),
            result("t3", [text("planted-result-my")]),
            result("t1", "planted-result-read"),
            result("t4", "Launching skill: vectorize"),
            text(SKILL_BODY),
            reminder(TOOL_HOOK),
        ),
        system(NESTED),
        tools=TOOLS,
    )


def layout_a() -> bytes:
    """Until 2.1.100 and with old models: reminder blocks, and reminders glued to results."""
    starts = [START_HOOK, MENTION, CONTENT, ENVIRONMENT, STYLE, AGENTS, INSTRUCTIONS, SKILLS, STYLE_REMINDER, HOOK]
    context = (
        f"As you answer the user's questions, you can use the following context:\n# claudeMd\n{MEMORY}\n"
        f"# currentDate\n{DATE}\n\n      IMPORTANT: this context may or may not be relevant to your tasks."
    )
    glued = "".join(
        f"\n\n<system-reminder>\n{item}\n</system-reminder>" for item in (TOOL_HOOK, NESTED, STYLE_REMINDER)
    )
    return body(
        user(*[reminder(item) for item in starts], reminder(context), text("planted-prompt-by-user")),
        CALLS,
        user(
            result("t1", f"planted-result-read{glued}"),
            result("t2", [text("planted-result-docs")]),
            result("t3", [text("planted-result-my\n"), reminder(STYLE_REMINDER)]),
            result("t4", f"Launching skill: vectorize\n\n<system-reminder>\n{STYLE_REMINDER}\n</system-reminder>"),
            text(SKILL_BODY),
        ),
        tools=TOOLS,
    )


@pytest.mark.parametrize("request_body", [layout_a(), layout_b(), layout_c()], ids=["A", "B", "C"])
def test_every_planted_text_is_found_at_its_source(request_body):
    """One conversation with everything in it, in each layout."""
    found = analyze(request_body)
    assert {words: labels(found, words) for words in EXPECTED} == {words: {label} for words, label in EXPECTED.items()}
    assert not [segment.text for segment in found.segments() if segment.source.name == "unclassified"]


def test_kinds_stand_apart():
    """A server's schema, listing, instructions, calls and results can be told from each other."""
    found = analyze(layout_c())
    kinds = {segment.kind for segment in found.segments() if segment.source.label == "MCP: docs"}
    assert kinds == {"schema", "listing", "instructions", "call", "result"}
    assert owners(found, "ARGUMENTS: planted-arguments") == {("Skill: vectorize", "arguments")}
    assert owners(found, "call-my") == {("MCP: my_server", "call")}
    assert owners(found, f"{CWD}/sub/x.txt") == {("Assistant: tool calls", "call")}


def test_the_plugin_of_a_skill_is_carried():
    """A plugin's skill stays a skill."""
    found = analyze(layout_c())
    sources = {segment.source for segment in found.segments() if segment.source.name == "box:deploy"}
    assert {source.plugin for source in sources} == {"box"}


def test_sent_again_after_a_compaction_the_order_is_another():
    """Skills come before MCP instructions then, and the session hook after the output style (measured on 2.1.330)."""
    items = [DEFERRED, AGENTS, SKILLS, INSTRUCTIONS, ENVIRONMENT, STYLE]
    items += ["SessionStart:compact hook success: planted-compact-hook", STYLE_REMINDER, HOOK, DATE]
    summary = "This session is being continued from a previous conversation that ran out of context. planted-summary"
    found = analyze(body(user(text(summary)), system("\n\n".join(items)), said(text("ok")), user(text("planted-next"))))
    assert labels(found, "planted-summary") == {"Compaction: summary"}
    assert labels(found, "planted-next") == {"User"}
    assert labels(found, "planted-compact-hook") == {"Hook: SessionStart:compact"}
    for words in ("planted-my-instructions", "planted-docs-more", "planted-skill", "planted-style", "planted-hook"):
        assert labels(found, words) == {EXPECTED[words]}


def test_results_find_their_call_across_the_whole_conversation():
    """Results of parallel calls come in any order, even in a later turn."""
    found = analyze(
        body(
            user(text("go")),
            said(
                use("a", "Bash", command="x"), use("b", "mcp__docs__lookup"), use("c", "Task", subagent_type="planner")
            ),
            user(result("c", [text("from-planner")]), result("a", "from-bash")),
            said(text("hm")),
            user(result("b", "from-docs", is_error=True)),
        )
    )
    assert owners(found, "from-planner") == {("Agent: planner", "result")}
    assert owners(found, "from-bash") == {("Tool: Bash", "result")}
    assert owners(found, "from-docs") == {("MCP: docs", "error")}


def test_an_unknown_call_is_not_guessed():
    """A result without its call belongs to an unknown tool, with little confidence."""
    found = analyze(body(user(result("mcp__docs__lookup", "orphan"))))
    assert owners(found, "orphan") == {("Tool: unknown tool", "result")}
    (segment,) = [segment for segment in found.segments() if segment.text == "orphan"]
    assert segment.confidence < 0.5


def test_other_callers_own_their_results():
    """Resources belong to their server, slash commands to the command, errors stay with their tool."""
    found = analyze(
        body(
            user(text("go")),
            said(
                use("a", "ReadMcpResourceTool", server="docs", uri="x"),
                use("b", "SlashCommand", command="/tidy now"),
                use("c", "Read", file_path="/x"),
                use("d", "ListMcpResourcesTool", server="docs"),
            ),
            user(
                result("a", "of-resource"),
                result("b", "of-command"),
                result("c", "<tool_use_error>of-error</tool_use_error>"),
                result("d", "of-list"),
            ),
        )
    )
    assert labels(found, "of-resource") == {"MCP: docs"}
    assert labels(found, "of-command") == {"Command: tidy"}
    assert owners(found, "of-error") == {("Tool: Read", "error")}
    assert labels(found, "of-list") == {"Tool: ListMcpResourcesTool"}


def test_a_list_of_resources_is_cut_by_server():
    """Each entry names its server; brackets, other entries and what is glued behind are nobody's resources."""
    listed = '[{"name":"é","server":"docs","description":"of-docs"},{"server":"my_tracker"},{"uri":"of-nobody"}]'
    style = "Curt output style is active. Remember to follow the specific guidelines."
    glued = f"\n\n<system-reminder>\n{style}\n</system-reminder>"
    call = said(use("a", "ListMcpResourcesTool"))
    found = analyze(body(user(text("go")), call, user(result("a", listed + glued)), tools=[tool("Read")]))
    assert owners(found, "of-docs") == {("MCP: docs", "result")}
    assert owners(found, '"my_tracker"') == {("MCP: my_tracker", "result")}
    assert labels(found, "of-nobody") == {"Tool: ListMcpResourcesTool"}
    assert labels(found, "Curt output style") == {"Framework: output style"}


@pytest.mark.parametrize(
    "words", ["PreToolUse:Bash hook error: [x]: planted-reason", "Bash operation blocked by hook:\n- planted-reason"]
)
def test_a_call_that_a_hook_forbade_has_the_hooks_words_for_a_result(words):
    """The tool never ran. The same words without the error are the tool's, and so are those that name another tool."""
    call = said(use("a", "Bash", command="x"), use("b", "Bash", command="y"), use("c", "Read", file_path="z"))
    answers = user(
        result("a", words, is_error=True),
        result("b", words.replace("reason", "output")),
        result("c", words.replace("reason", "other"), is_error=True),
    )
    found = analyze(body(user(text("go")), call, answers, tools=[tool("Read")]))
    assert owners(found, "planted-reason") == {("Hook: PreToolUse:Bash", "error")}
    assert owners(found, "planted-output") == {("Tool: Bash", "result")}
    assert owners(found, "planted-other") == {("Tool: Read", "error")}


def test_no_hook_is_glued_to_a_result_where_hooks_stand_apart():
    """Layout A, until a session is resumed: so a copy of a hook's reminder in an output is the output's."""
    copy = "out\n\n<system-reminder>\nPostToolUse:Bash hook additional context: planted-copy\n</system-reminder>"
    call = said(use("a", "Bash", command="x"))
    apart = reminder("PostToolUse:Bash hook additional context: planted-genuine")
    found = analyze(body(user(text("go")), call, user(result("a", copy), apart), tools=[tool("Read")]))
    assert labels(found, "planted-copy") == {"Tool: Bash"}
    assert labels(found, "planted-genuine") == {"Hook: PostToolUse:Bash"}
    glued = analyze(body(user(text("go")), call, user(result("a", copy)), tools=[tool("Read")]))
    assert labels(glued, "planted-copy") == {"Hook: PostToolUse:Bash"}


def test_tool_references_belong_to_the_tool_that_they_load():
    """A search result names tools; the names are their servers'."""
    references = [
        {"type": "tool_reference", "tool_name": "mcp__docs__lookup"},
        {"type": "tool_reference", "tool_name": "WebFetch"},
    ]
    found = analyze(
        body(
            user(text("go")),
            said(use("s", "ToolSearch", query="select:x")),
            user(result("s", references), text("Tool loaded.")),
        )
    )
    assert owners(found, "mcp__docs__lookup") == {("MCP: docs", "reference")}
    assert ("Tool: WebFetch", "reference") in owners(found, "WebFetch")
    assert labels(found, "Tool loaded.") == {"Framework: tool loading"}


def test_a_failing_server_is_named():
    """The notice about it is an error of that server."""
    notice = (
        "The following MCP servers are configured but failed to connect — no tools:\n"
        'broken (CODE): "Connection closed"\n\nTreat this as a connection failure, not more.'
    )
    found = analyze(body(user(text("go")), system(f"{notice}\n\n{DATE}")))
    assert owners(found, "Connection closed") == {("MCP: broken", "error")}
    assert labels(found, "Treat this as") == {"Framework: MCP availability"}
    assert labels(found, DATE) == {"Framework: date"}


def test_background_agents_report_inside_a_notification():
    """The client's words are the framework's, the report is the agent's, and nobody typed it."""
    notification = (
        "[SYSTEM NOTIFICATION - NOT USER INPUT]\nAutomated.\n\n<task-notification>\n<task-id>1</task-id>\n"
        "<result>background-report</result>\n</task-notification>"
    )
    found = analyze(body(user(text("go")), said(text("ok")), user(reminder(notification))))
    assert labels(found, "background-report") == {"Agent: background"}
    assert labels(found, "Automated.") == {"Framework: task notification"}


def test_a_notification_names_the_call_that_it_is_about():
    """So the report of a background agent goes to that agent."""
    notification = (
        "[SYSTEM NOTIFICATION - NOT USER INPUT]\nAutomated.\n\n<task-notification>\n<tool-use-id>{}</tool-use-id>\n"
        "<result>{}\n<tool-use-id>b</tool-use-id></result>\n</task-notification>"
    )
    calls = said(use("a", "Agent", subagent_type="planner", prompt="x"), use("b", "Agent", subagent_type="other"))
    both = "\n\n".join(notification.format(call, f"report-{call}") for call in "ab")
    found = analyze(body(user(text("go")), calls, user(result("a", "launched"), result("b", "launched")), system(both)))
    assert owners(found, "report-a") == {("Agent: planner", "result")}
    assert owners(found, "report-b") == {("Agent: other", "result")}


def test_a_subagents_request_is_its_agents():
    """Its prompt and its system text belong to the agent, memory stays memory."""
    blocks = [text(SUBAGENT_BILLING), text(IDENTITY), text(f"agent-file-text of the user\n\n{KNOWN}")]
    request = body(user(reminder(MEMORY), text("prompt-by-parent")), system=blocks, tools=[tool("Read")])
    found = analyze(request, x_claude_code_agent_id="a1", x_claude_code_agent_type="Explore")
    assert owners(found, "agent-file-text") == {("Agent: Explore", "instructions")}
    assert owners(found, "prompt-by-parent") == {("Agent: Explore", "prompt")}
    assert labels(found, "planted-project") == {f"Memory: {CWD}/CLAUDE.md"}
    assert labels(found, KNOWN) == {"Framework: system prompt"}
    assert found.identity.request_class == "subagent"
    assert found.identity.agent_id == "a1"


def test_a_memory_file_without_a_preamble_is_named_by_its_path_alone():
    """What the client says of its scope is no part of the path; words in brackets of the path's own are."""
    scope = "project instructions, checked into the codebase"
    for head, name in ((f"/p/CLAUDE.md ({scope})", "/p/CLAUDE.md"), ("/p (old)/CLAUDE.md", "/p (old)/CLAUDE.md")):
        found = analyze(body(user(reminder(f"Contents of {head}:\n\nplanted"), text("go"))))
        assert labels(found, "planted") == {f"Memory: {name}"}


def test_older_versions_tell_about_background_tasks_in_a_reminder():
    """The result that it quotes is the agent's whose call it names (2.1.100)."""
    notice = (
        "A background agent completed a task:\n<task-notification>\n<task-id>a1</task-id>\n"
        "<tool-use-id>t1</tool-use-id>\n<result>planted-report</result>\n</task-notification>"
    )
    started = said(use("t1", "Agent", subagent_type="planner", prompt="plan"))
    found = analyze(
        body(user(text("go")), started, user(result("t1", "Started."), reminder(notice)), tools=[tool("Agent")])
    )
    assert labels(found, "planted-report") == {"Agent: planner"}
    assert labels(found, "A background agent completed") == {"Framework: task notification"}


def test_hooks_may_stand_apart_and_glued_in_one_message():
    """Where a skill's body parts the results, what came before it is glued and what came after is not."""
    asked = said(use("a", "Skill", skill="tidy"), use("b", "Bash", command="ls"))
    style = f"<system-reminder>\n{STYLE_REMINDER}\n</system-reminder>"
    glued = f"Launching\n\n{style}\n\n<system-reminder>\nPreToolUse:Bash hook"
    answers = user(
        result("a", f"{glued} additional context: planted-before\n</system-reminder>"),
        result("b", "out"),
        text("planted-body"),
        reminder("PostToolUse:Bash hook additional context: planted-after"),
    )
    found = analyze(body(user(text("go")), asked, answers, tools=[tool("Skill"), tool("Bash")]))
    assert labels(found, "planted-before") == {"Hook: PreToolUse:Bash"}
    assert labels(found, "planted-after") == {"Hook: PostToolUse:Bash"}
    assert labels(found, STYLE_REMINDER) == {"Framework: output style"}
