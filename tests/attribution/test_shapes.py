"""Blocks of every kind that the Messages API takes, from clients of every kind."""

from __future__ import annotations

import json

import pytest

from claudeproxy.model import RequestAttribution, SourceType
from tests.attribution.bodies import (
    SYSTEM,
    analyze,
    body,
    check_partition,
    engine,
    holders,
    labels,
    owners,
    said,
    text,
    user,
)


def plain(*messages: object, tools: object = (), **more: object) -> RequestAttribution:
    """Analyze what a program sends that is no Claude Code."""
    request = body(*messages, system="own-system", tools=tools, **more)  # type: ignore[arg-type]
    found = engine().analyze_request(request)
    check_partition(request, found)
    return found


def call(kind: str, name: str, **more: object) -> dict[str, object]:
    return {"type": kind, "id": "c1", "name": name, "input": {"q": "of-the-call"}, **more}


def answer(kind: str, content: object, **more: object) -> dict[str, object]:
    return {"type": kind, "tool_use_id": "c1", "content": content, **more}


SERVER_TOOLS = [
    ("web_search", "web_search", "web_search_tool_result", [{"type": "web_search_result", "title": "own-text"}]),
    (
        "web_fetch",
        "web_fetch",
        "web_fetch_tool_result",
        {
            "type": "web_fetch_result",
            "url": "https://site.example",
            "content": {"type": "document", "title": "own-text", "source": {"type": "base64", "data": "QUJD"}},
        },
    ),
    (
        "bash_code_execution",
        "code_execution",
        "bash_code_execution_tool_result",
        {"type": "bash_code_execution_result", "stdout": "own-text", "stderr": "", "return_code": 0, "content": []},
    ),
    (
        "text_editor_code_execution",
        "code_execution",
        "text_editor_code_execution_tool_result",
        {"type": "text_editor_code_execution_view_result", "file_type": "text", "content": "own-text"},
    ),
    ("advisor", "advisor", "advisor_tool_result", {"type": "advisor_result", "text": "own-text"}),
]


@pytest.mark.parametrize(("name", "tool", "kind", "content"), SERVER_TOOLS, ids=[row[0] for row in SERVER_TOOLS])
def test_the_apis_own_tools_have_their_calls_and_results(name: str, tool: str, kind: str, content: object):
    """Both stand in the assistant's message, and neither is the assistant's."""
    found = plain(user(text("q")), said(call("server_tool_use", name), answer(kind, content)))
    assert owners(found, "of-the-call") == {(f"Tool: {tool}", "call")}
    assert owners(found, "own-text") == {(f"Tool: {tool}", "result")}


def test_a_fetched_document_is_no_text():
    """Base64 is billed by pages, so it is not kept as text that is counted."""
    row = SERVER_TOOLS[1]
    found = plain(said(call("server_tool_use", row[0]), answer(row[2], row[3])))
    assert not [segment for segment in found.segments() if "QUJD" in segment.text]


@pytest.mark.parametrize(
    "failed",
    [
        answer("web_search_tool_result", {"type": "web_search_tool_result_error", "error_code": "own-text"}),
        answer("mcp_tool_result", [text("own-text")], is_error=True),
        answer("tool_result", "<tool_use_error>own-text</tool_use_error>"),
        answer("tool_result", [text("<tool_use_error>own-text</tool_use_error>")]),
    ],
    ids=["content type", "flag", "words", "words in a list"],
)
def test_a_failed_result_is_an_error_of_its_tool(failed: dict[str, object]):
    """However the failure is told."""
    mcp = failed["type"] == "mcp_tool_result"
    use = call("mcp_tool_use", "ask", server_name="wiki") if mcp else call("tool_use", "ask")
    found = plain(user(text("q")), said(use), user(failed))
    assert owners(found, "own-text") == {("MCP: wiki" if mcp else "Tool: ask", "error")}


def test_the_tools_of_the_mcp_connector_are_their_servers():
    """A toolset, a listing that came with an answer, calls and results: by `server_name`."""
    pinned = [{"name": "ask", "description": "own-schema", "input_schema": {}}]
    found = plain(
        user(text("q")),
        said(
            {
                "type": "mcp_tool_listing",
                "mcp_server_name": "wiki",
                "tools": [{"name": "x", "description": "own-list"}],
            },
            call("mcp_tool_use", "ask", server_name="wiki"),
            answer("mcp_tool_result", [text("own-result")]),
        ),
        tools=[{"type": "mcp_toolset", "mcp_server_name": "wiki", "tools": pinned}],
        mcp_servers=[{"type": "url", "name": "wiki", "url": "https://wiki.example", "authorization_token": "dummy"}],
    )
    assert owners(found, "own-schema") == {("MCP: wiki", "schema")}
    assert owners(found, "own-list") == {("MCP: wiki", "schema")}
    assert owners(found, "of-the-call") == {("MCP: wiki", "call")}
    assert owners(found, "own-result") == {("MCP: wiki", "result")}
    servers = [segment for segment in found.overhead if segment.source.name == "mcp_servers"]
    assert [segment.text for segment in servers] == [""]  # it holds a token, and is no prompt


def test_tool_changes_belong_to_the_tool_that_they_name():
    """In role:system messages: definitions cost what schemas cost."""
    own = {"name": "mcp__a_b__c", "description": "own-schema", "input_schema": {}}
    changes = [
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": own}},
        {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Own"}},
        {"type": "tool_addition", "tool": {"type": "mcp_toolset_reference", "server_name": "wiki"}},
        {"type": "tool_removal", "tool": {"type": "mcp_tool_reference", "name": "gone", "server_name": "docs"}},
        {"type": "tool_removal", "tool": {"type": "new_reference"}},
        {"type": "tool_removal", "tool": "odd-tool"},
    ]
    for found in (
        analyze(body(user(text("q")), {"role": "system", "content": changes})),
        plain(user(text("q")), {"role": "system", "content": changes}),
    ):
        assert owners(found, "own-schema") == {("MCP: a_b", "schema")}
        assert owners(found, '"Own"') == {("Tool: Own", "reference")}
        assert owners(found, '"wiki"') == {("MCP: wiki", "reference")}
        assert owners(found, '"gone"') == {("MCP: docs", "notice")}
        assert owners(found, "new_reference") == {("Framework: tool availability", "notice")}
        assert labels(found, "odd-tool") <= {"Framework: system message", "User"}


def test_a_tool_search_result_refers_to_tools():
    """Each reference loads a schema: it is that tool's."""
    references = [{"type": "tool_reference", "tool_name": "mcp__docs__find"}]
    content = {"type": "tool_search_tool_search_result", "tool_references": references}
    found = plain(
        said(call("server_tool_use", "tool_search_tool_regex"), answer("tool_search_tool_result", content)),
    )
    assert owners(found, "mcp__docs__find") == {("MCP: docs", "reference")}


def test_a_compaction_block_is_the_summary():
    """The API's own compaction: content that the model wrote, and encrypted state."""
    block = {"type": "compaction", "content": "own-summary", "encrypted_content": "eHg="}
    found = plain(user(text("q")), said(block, text("own-answer")))
    assert owners(found, "own-summary") == {("Compaction: summary", "body")}
    assert owners(found, "own-answer") == {("Assistant: text", "text")}
    assert "opaque" in {segment.kind for segment in found.segments()}


def test_a_fallback_marker_is_no_prompt():
    """The API takes it and does not render it."""
    found = plain(said({"type": "fallback", "from": {"model": "own-a"}, "to": {"model": "own-b"}}))
    assert not [segment for segment in found.segments() if "own-a" in segment.text]
    assert "marker" in {segment.kind for segment in found.segments()}


def test_citations_are_not_counted_again():
    """Quoted text in an answer's citations is not billed when the answer is sent back."""
    cited = {"type": "text", "text": "own-answer", "citations": [{"type": "char_location", "cited_text": "own-quote"}]}
    found = plain(said(cited))
    assert labels(found, "own-answer") == {"Assistant: text"}
    assert not [segment for segment in found.segments() if "own-quote" in segment.text]


def test_attachments_are_named_by_title_file_or_address():
    """Images, documents of every source, search results, uploads."""
    parts = [{"type": "text", "text": "own-part"}, {"type": "image", "source": {"type": "base64", "data": "QUJD"}}]
    found = plain(
        user(
            {
                "type": "document",
                "title": "Plan",
                "context": "own-context",
                "source": {"type": "text", "data": "own-a"},
            },
            {"type": "document", "title": "Parts", "source": {"type": "content", "content": parts}},
            {"type": "document", "title": "Bare", "source": {"type": "content", "content": "own-bare"}},
            {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "search_result", "source": "s", "title": "Hit", "content": [text("own-hit")], "citations": {}},
            {"type": "container_upload", "file_id": "file_2"},
            text("own-prompt"),
        )
    )
    assert labels(found, "own-a") == labels(found, "own-context") == {"Attachment: Plan"}
    assert labels(found, "own-part") == {"Attachment: Parts"}
    assert labels(found, "own-bare") == {"Attachment: Bare"}
    assert labels(found, "own-hit") == {"Attachment: Hit"}
    assert labels(found, "own-prompt") == {"User"}
    names = {segment.source.name for segment in found.segments() if segment.source.type is SourceType.ATTACHMENT}
    assert names == {"Plan", "Parts", "Bare", "https://x.example/a.pdf", "file_1", "Hit", "file_2"}
    assert not [segment for segment in found.segments() if "QUJD" in segment.text]


def test_unknown_types_and_members_go_to_their_position():
    """New ones come with every release: never dropped, never an error."""
    found = plain(
        user({"type": "hologram", "beam": "own-beam"}, text("q", aura="own-aura")),
        said({"type": "dream", "content": {"type": "odd", "deep": [{"content": "own-dream"}]}}),
        tools=[{"type": "oracle_20991231", "power": "own-power"}],
    )
    assert labels(found, "own-beam") == labels(found, "own-aura") == {"User"}
    assert labels(found, "own-dream") == {"Assistant: text"}
    assert owners(found, "own-power") == {("Tool: oracle_20991231", "schema")}


def test_the_types_of_one_place_are_not_believed_in_another():
    """A user's message with a type of the assistant's or the framework's is still the user's."""
    block = {"type": "compaction", "content": "own-a"}
    change = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "own-b"}}
    found = plain(user(block, change, {"type": "mcp_toolset", "mcp_server_name": "own-c"}))
    for words in ("own-a", "own-b", "own-c"):
        assert labels(found, words) == {"User"}


def test_an_argument_named_server_makes_no_server():
    """A program's own tool may take whatever it likes."""
    found = plain(user(text("q")), said(call("tool_use", "restart") | {"input": {"server": "db1"}}))
    assert labels(found, "db1") == {"Assistant: tool calls"}


@pytest.mark.parametrize("counted", [True, False], ids=["count_tokens", "messages"])
def test_a_body_to_be_counted_is_divided_alike(counted: bool):
    """`count_tokens` takes the same body without max_tokens."""
    request = json.loads(body(user(text("own-prompt")), system=SYSTEM))
    if counted:
        del request["max_tokens"]
    raw = json.dumps({**request, "system": "own-system", "messages": [{"role": "user", "content": "own-prompt"}]})
    found = engine().analyze_request(raw.encode())
    check_partition(raw.encode(), found)
    assert (labels(found, "own-prompt"), labels(found, "own-system")) == ({"User"}, {"User"})
    assert (found.identity.request_class == "count_tokens") is counted


def test_nested_content_has_an_end():
    """Lists in lists in lists: what is deeper than the API nests is one piece."""
    deep: object = "own-deep"
    for _ in range(40):
        deep = {"type": "document", "source": {"type": "content", "content": [deep]}, "content": {"content": [deep]}}
        if len(json.dumps(deep)) > 20_000:
            break
    found = plain(user({"type": "document", "source": {"type": "content", "content": [deep]}}))
    assert holders(found, "own-deep")


@pytest.mark.parametrize("name", ["Task", "Agent", "Skill", "SlashCommand"])
def test_a_programs_own_tool_may_have_a_name_of_claude_codes(name: str):
    """Only Claude Code's are agents, skills and commands."""
    use = {"type": "tool_use", "id": "c1", "name": name, "input": {"skill": "x", "command": "y"}}
    found = plain(user(text("q")), said(use), user(answer("tool_result", "own-result")))
    assert owners(found, "own-result") == {(f"Tool: {name}", "result")}
