"""What stands in a user message beside the prompt: commands, skills, output, attachments, the client's own words."""

from __future__ import annotations

import pytest

from claudeproxy.attribution import AttributionEngine
from tests.attribution.bodies import (
    CLAUDE,
    CWD,
    DATE,
    IDENTITY,
    SUBAGENT_BILLING,
    analyze,
    body,
    headers,
    labels,
    owners,
    reminder,
    result,
    said,
    text,
    tool,
    use,
    user,
)

TOOLS = [tool("Read"), tool("mcp__docs__find")]
CAVEAT = "<local-command-caveat>Run by the user.</local-command-caveat>"
BASE = f"Base directory for this skill: {CWD}/.claude/skills"


def command(name: str, arguments: str = "") -> dict[str, object]:
    inner = f"\n<command-args>{arguments}</command-args>" if arguments else ""
    message = f"<command-message>{name}</command-message>"
    return text(f"{message}\n<command-name>/{name}</command-name>{inner}")


@pytest.mark.parametrize(
    ("name", "expanded", "owner", "kind"),
    [
        ("tidy", "planted-body", "Command: tidy", "body"),
        ("vectorize", f"{BASE}/vectorize\n\nplanted-body", "Skill: vectorize", "body"),
        ("mcp__docs__ask", "planted-body", "MCP: docs", "prompt"),
        ("docs:ask (MCP)", "planted-body", "MCP: docs", "prompt"),
        ("box:tidy", "planted-body", "Command: box:tidy", "body"),
    ],
)
def test_a_command_and_its_body_belong_together(name, expanded, owner, kind):
    """A file, a skill, or a server's prompt: whoever brought the body also owns the command block."""
    found = analyze(body(user(reminder(DATE), command(name, "planted-arguments"), text(expanded)), tools=TOOLS))
    assert owners(found, "planted-body") == {(owner, kind)}
    assert owners(found, "planted-arguments") == {(owner, "call")}


def test_local_commands_come_with_a_caveat_and_their_output():
    """The prompt after them is the user's."""
    local = "<command-name>/compact</command-name>\n            <command-message>compact</command-message>"
    stdout = text("<local-command-stdout>planted-output</local-command-stdout>")
    found = analyze(body(user(text(CAVEAT), text(local), stdout, text("planted-prompt")), tools=TOOLS))
    assert labels(found, "Run by the user.") == {"Framework: local command caveat"}
    assert owners(found, "<command-name>/compact") == {("Command: compact", "call")}
    assert owners(found, "planted-output") == {("Command: compact", "result")}
    assert owners(found, "planted-prompt") == {("User", "prompt")}


def test_shell_commands_that_the_user_ran():
    """The command is the user's words, the output is not."""
    shell = [
        text("<bash-input>planted-input</bash-input>"),
        text("<bash-stdout>planted-out</bash-stdout><bash-stderr></bash-stderr>"),
    ]
    found = analyze(body(user(text(CAVEAT), *shell, text("planted-prompt")), tools=TOOLS))
    assert labels(found, "planted-input") == {"User"}
    assert owners(found, "planted-out") == {("Command: !", "result")}
    assert labels(found, "planted-prompt") == {"User"}


def test_skill_bodies_find_their_skill_after_all_results():
    """Bodies come after the last result, in any order; one without a folder goes to the call that is left."""
    found = analyze(
        body(
            user(text("go")),
            said(
                use("a", "Skill", skill="box:deploy"),
                use("b", "Skill", skill="vectorize"),
                use("c", "Skill", skill="loop"),
            ),
            user(
                result("a", "Launching skill: box:deploy"),
                result("c", "Launching skill: loop"),
                result("b", "Launching skill: vectorize"),
                text(f"{BASE}/vectorize\n\nplanted-vectorize\n\nARGUMENTS: planted-arguments"),
                text(f"{BASE}/deploy\n\nplanted-deploy"),
                text("planted-loop"),
            ),
            tools=TOOLS,
        )
    )
    assert owners(found, "planted-vectorize") == {("Skill: vectorize", "body")}
    assert owners(found, "planted-arguments") == {("Skill: vectorize", "arguments")}
    assert owners(found, "planted-deploy") == {("Skill: box:deploy", "body")}
    assert owners(found, "planted-loop") == {("Skill: loop", "body")}


def test_a_skill_body_whose_folder_has_another_name_goes_to_the_waiting_call():
    """Folders need not be named like the skill."""
    found = analyze(
        body(
            user(text("go")),
            said(use("a", "Skill", skill="nice-name")),
            user(result("a", "Launching skill: nice-name"), text(f"{BASE}/folder\n\nplanted-body")),
            tools=TOOLS,
        )
    )
    assert labels(found, "planted-body") == {"Skill: nice-name"}


@pytest.mark.parametrize(
    ("words", "owner"),
    [
        ("[Request interrupted by user for tool use]", "Framework: interruption"),
        ("Stop hook feedback:\n[check]: not yet", "Hook: Stop"),
        ("[structured-output-enforce] You MUST call the tool", "Framework: structured output"),
    ],
)
def test_the_clients_own_short_messages(words, owner):
    """Known by their whole form."""
    found = analyze(body(user(text("go")), said(text("hm")), user(text(words)), tools=TOOLS))
    assert labels(found, words) == {owner}


def test_a_request_for_a_summary_is_the_clients():
    """By the class that the client states; without one by its place and length."""
    words = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools. " + "More of it. " * 200
    request = body(user(text("go")), said(text("ok")), user(text(words)), tools=TOOLS)
    assert labels(analyze(request), words) == {"Framework: compaction request"}
    assert analyze(request).identity.request_class == "compaction"
    stated = analyze(request, x_claude_code_request_class="compaction")
    assert labels(stated, words) == {"Framework: compaction request"}
    assert labels(analyze(request, x_claude_code_request_class="main"), words) == {"User"}


def test_deferred_tools_in_a_message_of_their_own():
    """2.1.100: the whole first message is the listing."""
    listing = "<available-deferred-tools>\nWebFetch\nmcp__docs__find\n</available-deferred-tools>"
    found = analyze(body({"role": "user", "content": listing}, user(text("go")), tools=TOOLS))
    assert owners(found, "mcp__docs__find\n") == {("MCP: docs", "listing")}
    assert owners(found, "WebFetch") == {("Tool: WebFetch", "listing")}


def test_attachments_have_names():
    """By title, path or address; base64 is no text to count."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}
    titled = {"type": "document", "title": "plan.txt", "source": {"type": "text", "data": "planted-document"}}
    unnamed = {"type": "document", "source": "odd"}
    found = analyze(
        body(user(image, text("[Image: source: /p/a.png]"), linked, titled, unnamed, text("go")), tools=TOOLS)
    )
    assert owners(found, "planted-document") == {("Attachment: plan.txt", "body")}
    assert labels(found, "[Image: source:") == {"Attachment: /p/a.png"}
    assert labels(found, "https://x.example") == {"Attachment: https://x.example/a.png"}
    assert labels(found, "odd") == {"Attachment: document"}
    opaque = [segment for segment in found.segments() if segment.kind == "opaque"]
    assert [(segment.source.label, segment.text) for segment in opaque] == [("Attachment: /p/a.png", "")]


def test_unknown_blocks_belong_to_their_place():
    """A block type of tomorrow in a user message is the user's."""
    found = analyze(body(user({"type": "hologram", "scene": "planted"}, text("go")), tools=TOOLS))
    assert labels(found, "planted") == {"User"}


def test_a_side_call_is_the_clients_own():
    """No tools, one message, nothing injected: a title, a summary."""
    found = analyze(body(user(text("planted-quote")), system=[text("Write a title, planted-order.")]))
    assert found.identity.request_class == "auxiliary"
    assert labels(found, "planted-quote") == {"Framework: side call"}


def test_later_words_to_a_subagent_are_less_sure():
    """They come from its parent as a rule, but people can talk to agents."""
    request = body(user(text("first-words")), said(text("ok")), user(text("later-words")), tools=TOOLS)
    found = analyze(request, x_claude_code_agent_id="a1")
    (first,) = [segment for segment in found.segments() if segment.text == "first-words"]
    (later,) = [segment for segment in found.segments() if segment.text == "later-words"]
    assert first.source.label == later.source.label == "Agent: unknown"
    assert first.confidence > later.confidence


def test_hooks_of_1_x_have_tags_of_their_own():
    """Beside a prompt; alone such a text is a prompt, and so it is in versions that write reminders."""
    start = text("<session-start-hook>planted-start</session-start-hook>")
    submit = text("<user-prompt-submit-hook>planted-submit</user-prompt-submit-hook>")
    after = text("<post-tool-use-hook>planted-after</post-tool-use-hook>")
    feedback = text("Read operation feedback:\n- [hook]: planted-feedback\n")
    conversation = (
        user(reminder(DATE), start, text("planted-prompt"), submit),
        said(use("a", "Read", file_path="/x")),
        user(result("a", "of-read"), after, feedback),
    )
    old = body(*conversation, tools=TOOLS, system=[text(IDENTITY)])
    found = AttributionEngine().analyze_request(old, headers=headers(user_agent="claude-cli/1.0.128 (external, cli)"))
    assert owners(found, "planted-start") == {("Hook: SessionStart", "body")}
    assert owners(found, "planted-submit") == {("Hook: UserPromptSubmit", "body")}
    assert owners(found, "planted-after") == {("Hook: PostToolUse:Read", "body")}
    assert owners(found, "planted-feedback") == {("Hook: PostToolUse:Read", "body")}
    assert owners(found, "planted-prompt") == {("User", "prompt")}
    assert labels(analyze(body(*conversation, tools=TOOLS)), "planted-start") == {"User"}
    alone = body(user(start), tools=TOOLS, system=[text(IDENTITY)])
    found = AttributionEngine().analyze_request(alone, headers=headers(user_agent="claude-cli/1.0.128 (external, cli)"))
    assert labels(found, "planted-start") == {"User"}


def test_a_wrapped_prompt_between_tagged_hooks_is_still_the_prompt():
    """The tags are no prompt, and the reminder behind them would leave the turn without one."""
    start = text("<session-start-hook>planted-start</session-start-hook>")
    request = body(user(start, reminder(f"{DATE} planted-prompt")), tools=TOOLS, system=[text(IDENTITY)])
    old = headers(user_agent="claude-cli/1.0.128 (external, cli)")
    found = AttributionEngine().analyze_request(request, headers=old)
    assert labels(found, "planted-prompt") == {"User"}
    assert labels(found, "planted-start") == {"Hook: SessionStart"}


def test_a_list_of_deferred_tools_is_no_prompt():
    """2.1.100 has it as a message of its own before the first prompt."""
    listing = text("<available-deferred-tools>\nWebFetch\n</available-deferred-tools>")
    found = analyze(body(user(listing), user(reminder(DATE), reminder("planted-prompt")), tools=TOOLS))
    assert labels(found, "planted-prompt") == {"User"}


def test_a_skill_with_a_context_of_its_own_is_its_agents_prompt():
    """The forked agent is asked with the skill's body."""
    request = body(user(reminder(DATE), text(f"{BASE}/survey\n\nplanted-body")), tools=TOOLS)
    found = analyze(request, x_claude_code_agent_id="a1")
    assert owners(found, "planted-body") == {("Skill: survey", "body")}


def test_agents_are_warmed_up_by_the_client():
    """2.0 does so at its start."""
    found = analyze(body(user(text("Warmup")), tools=TOOLS), x_claude_code_agent_id="a1")
    assert labels(found, "Warmup") == {"Framework: warm-up"}


def test_a_failed_skill_has_no_body():
    """What stands behind its result is somebody else's."""
    failed = result("a", "<tool_use_error>No such tool</tool_use_error>", is_error=True)
    request = body(user(text("go")), said(use("a", "Skill", skill="x")), user(failed, text("planted")), tools=TOOLS)
    assert labels(analyze(request), "planted") == {"User"}


def test_a_prompt_may_be_a_picture_alone():
    """Then no reminder is the prompt, and what 1.x wraps in a tag of its own is still a hook's."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    found = analyze(body(user(reminder(DATE), image), tools=TOOLS))
    assert labels(found, DATE) == {"Framework: date"}
    first = [text(IDENTITY)]
    tagged = text("<session-start-hook>planted-hook</session-start-hook>")
    client = headers(user_agent="claude-cli/1.0.128 (external, cli)")
    found = AttributionEngine().analyze_request(body(user(tagged, image), system=first, tools=TOOLS), headers=client)
    assert labels(found, "planted-hook") == {"Hook: SessionStart"}


def test_a_tagged_hook_is_no_commands_body():
    """A person may type a command's tags; 1.x puts the prompt hook's output behind the prompt."""
    tagged = text("<user-prompt-submit-hook>planted-hook</user-prompt-submit-hook>")
    client = headers(user_agent="claude-cli/1.0.128 (external, cli)")
    request = body(user(command("typed"), tagged), system=[text(IDENTITY)], tools=TOOLS)
    found = AttributionEngine().analyze_request(request, headers=client)
    assert labels(found, "planted-hook") == {"Hook: UserPromptSubmit"}
    assert labels(found, "<command-name>/typed") == {"User"}


def test_a_servers_prompt_may_have_several_messages():
    """Block by block behind the first; a command or a reminder ends them."""
    asked = (command("mcp__docs__ask"), text("planted-first"), text("planted-second"))
    found = analyze(body(user(*asked, reminder(DATE), text("planted-prompt")), tools=TOOLS))
    assert owners(found, "planted-second") == {("MCP: docs", "prompt")}
    assert labels(found, "planted-prompt") == {"User"}
    found = analyze(body(user(*asked, command("tidy"), text("planted-body")), tools=TOOLS))
    assert labels(found, "planted-body") == {"Command: tidy"}


def test_stop_hooks_speak_to_agents_too():
    """In the same words: in an agent's conversation it is the hook for its end."""
    words = text("Stop hook feedback:\n[check]: planted-stop")
    asked = (user(text("go")), said(text("done")), user(words))
    assert labels(analyze(body(*asked, tools=TOOLS)), "planted-stop") == {"Hook: Stop"}
    agents = [text(SUBAGENT_BILLING), text(IDENTITY), text("You plan.")]
    found = analyze(body(*asked, system=agents, tools=TOOLS), x_claude_code_agent_id="a1")
    assert labels(found, "planted-stop") == {"Hook: SubagentStop"}


def test_a_servers_resource_is_named_as_its_tools_are():
    """The call has the name as configured, tools the one that fits into their names."""
    asked = use("t1", "ReadMcpResourceTool", server="my.docs", uri="x://y")
    tools = [*TOOLS, tool("mcp__my_docs__find", "planted-schema")]
    found = analyze(body(user(text("go")), said(asked), user(result("t1", "planted-resource")), tools=tools))
    assert labels(found, "planted-resource") == labels(found, "planted-schema") == {"MCP: my_docs"}


def test_a_count_needs_no_prompt():
    """The client asks for the size of a conversation whose last turn holds reminders only (2.0.76)."""
    hook = "SessionStart hook additional context: planted-hook"
    request = body(user(text("go")), said(text("done")), user(reminder(DATE), reminder(hook)), tools=TOOLS)
    counted = AttributionEngine().analyze_request(request, headers=CLAUDE, url_path="/v1/messages/count_tokens")
    assert labels(counted, "planted-hook") == {"Hook: SessionStart"}


def test_prompt_hooks_may_carry_a_matcher():
    """Callbacks inside the client do (2.0.76)."""
    found = analyze(body(user(reminder("UserPromptSubmit:Callback hook success: planted"), text("go")), tools=TOOLS))
    assert labels(found, "planted") == {"Hook: UserPromptSubmit:Callback"}
