"""Who sent a request, from hints that may be missing, odd or hostile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from claudeproxy.attribution.identity import marks_subagents
from claudeproxy.model import AgentCall
from tests.attribution.bodies import (
    BILLING,
    CWD,
    ENVIRONMENT,
    IDENTITY,
    KNOWN,
    SUBAGENT_BILLING,
    body,
    engine,
    headers,
    reminder,
    result,
    said,
    system,
    text,
    tool,
    use,
    user,
)

SESSION = "8df75ed0-f747-42bd-b524-2abc6a270237"
TOOLS = [tool("Read")]


def identify(request: bytes, **fields: str):
    return engine().analyze_request(request, headers=headers(**fields)).identity


def test_the_hints_of_a_first_party_request():
    """Every header that the newest client sends."""
    found = identify(
        body(user(text("go")), system(ENVIRONMENT), tools=TOOLS, diagnostics={"previous_message_id": "msg_1"}),
        user_agent="claude-cli/2.1.330 (external, sdk-cli)",
        X_Claude_Code_Session_Id=SESSION,
        x_claude_code_agent_id="a1b2",
        x_claude_code_parent_agent_id="c3d4",
        x_claude_code_agent_type="Explore",
        x_claude_code_request_class="subagent",
    )
    assert (found.session_id, found.agent_id, found.parent_agent_id) == (SESSION, "a1b2", "c3d4")
    assert (found.agent_type, found.request_class) == ("Explore", "subagent")
    assert (found.client, found.client_version, found.model) == ("claude-cli", "2.1.330", "claude-example")
    assert (found.project, found.previous_message_id) == (CWD, "msg_1")


@pytest.mark.parametrize(
    "user_id",
    [
        json.dumps({"device_id": "d", "account_uuid": "", "session_id": SESSION}),
        f"user_{'0a' * 32}_account__session_{SESSION}",
        f"user_0a_account_{SESSION}_session_{SESSION}",
    ],
)
def test_the_session_in_metadata(user_id):
    """Three generations of the same field."""
    assert identify(body(user(text("go")), metadata={"user_id": user_id})).session_id == SESSION


@pytest.mark.parametrize("user_id", ["", "me", "[" * 5000, '"x"', '{"session_id": 7}', '{"session_id": "a\\nb"}'])
def test_what_is_no_session_is_none(user_id):
    """Other applications put other things there."""
    assert identify(body(user(text("go")), metadata={"user_id": user_id})).session_id is None


@pytest.mark.parametrize("hint", ["x" * 600, "caf\u00e9", "a\x01b", ""])
def test_hints_that_are_not_printable_ascii_are_not_believed(hint):
    """They came over the network."""
    request = body(user(text("go")), tools=TOOLS)
    fields = ((b"X-Claude-Code-Session-Id", hint.encode("latin-1", "replace")),)
    assert engine().analyze_request(request, headers=fields).identity.session_id is None


@pytest.mark.parametrize(
    ("agent", "client", "version"),
    [
        ("Anthropic/Python 2.12.0", "anthropic-python", "2.12.0"),
        ("Anthropic/JS 1.12.0", "anthropic-js", "1.12.0"),
        ("claude-cli/2.1.330 (external, cli)", "claude-cli", "2.1.330"),
        ("curl/8.5.0", "curl", "8.5.0"),
        ("nonsense", None, None),
        ("", None, None),
    ],
)
def test_clients_by_user_agent(agent, client, version):
    """Name and version."""
    found = identify(body(user(text("go")), system="mine"), user_agent=agent)
    assert (found.client, found.client_version) == (client, version)


def test_the_billing_block_names_client_and_version():
    """Also where the User-Agent is another's (a gateway)."""
    found = identify(body(user(text("go")), tools=TOOLS), user_agent="gateway/1.0")
    assert (found.client, found.client_version, found.request_class) == ("claude-cli", "2.1.330", "main")


@pytest.mark.parametrize(
    ("blocks", "fields", "expected"),
    [
        ([BILLING, IDENTITY, KNOWN], {"x_claude_code_request_class": "side_reply"}, "side_reply"),
        ([BILLING, IDENTITY, KNOWN], {"x_claude_code_request_class": "of-tomorrow"}, "other"),
        ([BILLING, IDENTITY, KNOWN], {"x_claude_code_compaction": "manual"}, "compaction"),
        ([SUBAGENT_BILLING, IDENTITY, KNOWN], {}, "subagent"),
        ([BILLING, IDENTITY, KNOWN], {"x_claude_code_agent_id": "a1"}, "subagent"),
        ([IDENTITY, "You plan.\n\nNotes:\n- Agent threads always have their cwd reset here"], {}, "subagent"),
        ([BILLING, IDENTITY, KNOWN], {}, "main"),
        (["An application."], {}, "other"),
    ],
)
def test_classes(blocks, fields, expected):
    """What the client states, else what its body shows."""
    request = body(user(text("go")), system=[text(block) for block in blocks], tools=TOOLS)
    assert identify(request, **fields).request_class == expected


def test_a_missing_header_is_no_proof_of_main():
    """An old client without tools is somebody unknown; a new one would have said so."""
    old = [text(IDENTITY.replace("Claude Code", "Claude Code")), text(KNOWN)]
    request = body(user(reminder("x"), text("go")), system=old)
    assert identify(request, user_agent="claude-cli/2.0.76 (external, cli)").request_class == "other"
    assert identify(request, user_agent="claude-cli/2.1.330 (external, cli)").request_class == "main"


def test_only_count_tokens_may_leave_out_max_tokens():
    """The path is not known here, the body says it."""
    request = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    assert identify(request).request_class == "count_tokens"


def test_server_tools_do_not_make_a_conversation():
    """A web search is a side call with one tool of the API's own."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    found = identify(body(user(text("Perform a web search")), system=[text(IDENTITY)], tools=[search]))
    assert found.request_class == "auxiliary"


def test_the_project_is_read_where_the_client_writes_it():
    """Not from a prompt, a result or a memory that quotes it."""
    forged = ENVIRONMENT.replace(CWD, "/forged")
    request = body(
        user(text(forged)), said(text(forged)), user(result("x", forged), reminder(ENVIRONMENT)), tools=TOOLS
    )
    assert identify(request).project == CWD
    assert identify(body(user(text(forged)), tools=TOOLS)).project is None
    env = [text(IDENTITY), text(f"<env>\nWorking directory: {CWD}\nPlatform: linux\n</env>")]
    assert identify(body(user(text("go")), system=env, tools=TOOLS)).project == CWD


def test_threads_name_the_message_that_they_continue():
    """`thread` or `diagnostics`, whichever is there."""
    thread = {"type": "continue", "previous_message_id": "msg_2"}
    assert identify(body(user(text("go")), thread=thread)).previous_message_id == "msg_2"
    assert identify(body(user(text("go")), thread=7, diagnostics=[])).previous_message_id is None


@pytest.mark.parametrize(
    ("version", "marks"), [("2.1.330", True), ("2.1.197", True), ("2.1.100", False), ("x", False), (None, False)]
)
def test_which_versions_mark_subagents(version, marks):
    """Since 2.1.197 the billing block does."""
    assert marks_subagents(version) is marks


# --- agents that only their prompt tells of ------------------------------------------------------------------------

OLD = "claude-cli/2.0.76 (external, cli)"
CALL = AgentCall(id="toolu_1", agent_type="botanist", parent_agent_id="a0")


@dataclass
class Calls:
    """Evidence that knows one call."""

    prompt: str = "Find the family."
    asked: list[tuple[str, str]] = field(default_factory=list)

    def agent_call(self, session_id: str, prompt: str) -> AgentCall | None:
        self.asked.append((session_id, prompt))
        return CALL if prompt == self.prompt else None

    def injected(self, session_id: str, text: str) -> None:
        return None

    def whole_texts(self, session_id: str | None, owner: str) -> tuple[()]:
        return ()


def identify_with(evidence: Calls, request: bytes, **fields: str):
    return engine().analyze_request(request, headers=headers(**fields), evidence=evidence).identity


AGENT = [text(IDENTITY), text("You press plants.")]
ASKED = user(reminder("x"), text("Find the family."))


def test_an_older_clients_agent_is_known_by_its_prompt():
    """Name, parent and class; the call stands for the id that it does not send."""
    request = body(ASKED, said(text("I look.")), user(text("go on")), system=AGENT, tools=TOOLS)
    found = identify_with(evidence := Calls(), request, user_agent=OLD, x_claude_code_session_id=SESSION)
    assert (found.agent_id, found.parent_agent_id, found.agent_type) == ("toolu_1", "a0", "botanist")
    assert found.request_class == "subagent"
    assert evidence.asked == [(SESSION, "Find the family.")]


def test_the_users_own_agents_get_their_names_from_the_call():
    """The header only says `custom`; id and parent are the header's."""
    found = identify_with(
        Calls(),
        body(ASKED, system=AGENT, tools=TOOLS),
        user_agent="claude-cli/2.1.330 (external, cli)",
        x_claude_code_session_id=SESSION,
        x_claude_code_agent_id="a1",
        x_claude_code_agent_type="custom",
    )
    assert (found.agent_id, found.parent_agent_id, found.agent_type) == ("a1", "a0", "botanist")


def test_a_stated_type_is_believed():
    fields = {"x_claude_code_agent_id": "a1", "x_claude_code_agent_type": "Explore", "user_agent": OLD}
    found = identify_with(Calls(), body(ASKED, system=AGENT), x_claude_code_session_id=SESSION, **fields)
    assert found.agent_type == "Explore"


def test_whoever_made_the_call_is_not_its_agent():
    """A person may type what the model then passes on word for word."""
    request = body(ASKED, said(use("toolu_1", "Task", prompt="Find the family.")), system=AGENT, tools=TOOLS)
    found = identify_with(Calls(), request, user_agent=OLD, x_claude_code_session_id=SESSION)
    assert (found.agent_id, found.agent_type) == (None, None)


@pytest.mark.parametrize(
    ("agent", "session"), [("claude-cli/2.1.330 (external, cli)", SESSION), (OLD, None), ("curl/8", SESSION)]
)
def test_nobody_is_asked_in_vain(agent, session):
    """A newer client marks every agent; without a session nothing can be matched; others start no agents."""
    request = body(ASKED, system=AGENT if "claude" in agent else "mine", tools=TOOLS)
    fields = {"x_claude_code_session_id": session} if session else {}
    found = identify_with(evidence := Calls(), request, user_agent=agent, **fields)
    assert evidence.asked == []
    assert found.agent_id is None


# --- prompts and attempts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(text("go"))], True),
        ([user(text("go")), said(use("t", "Read")), user(result("t", "x"))], False),
        ([user(text("go")), said(use("t", "Read")), user(result("t", "x"), text("Tool loaded."))], False),
        ([user(text("go")), said(text("done")), user(text("more")), system("news")], True),
        ([user(text("go")), said(text("pre-filled"))], False),
        ([system("news")], False),
        ([], False),
    ],
)
def test_what_begins_with_a_prompt(messages, expected):
    assert identify(body(*messages, tools=TOOLS)).begins_prompt is expected


@pytest.mark.parametrize(("header", "expected"), [("2", 2), ("0", 0), ("-1", 0), ("99999", 0), ("x", 0)])
def test_attempts_that_the_client_counts(header, expected):
    assert identify(body(user(text("go"))), x_stainless_retry_count=header).retry_count == expected


# --- what the URL says ------------------------------------------------------------------------------------------------

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


@pytest.mark.parametrize(
    ("path", "limited", "expected"),
    [
        (MESSAGES, False, "other"),  # the API will refuse it, but it asked for an answer
        (f"https://api.example{MESSAGES}?beta=true", False, "other"),
        (f"/team-a{MESSAGES}/", False, "other"),
        (COUNT, True, "count_tokens"),
        (f"{COUNT}?beta=true", False, "count_tokens"),
        ("/model/claude/invoke", False, "count_tokens"),  # a path that does not say
        (None, False, "count_tokens"),
        (None, True, "other"),
    ],
)
def test_the_path_tells_who_only_asks_for_a_size(path, limited, expected):
    """`max_tokens` speaks only where the path says nothing."""
    raw = json.dumps({"messages": [], **({"max_tokens": 5} if limited else {})}).encode()
    assert engine().analyze_request(raw, url_path=path).identity.request_class == expected


def test_the_path_goes_before_a_stated_class():
    """The client names what it counts for."""
    sender = headers(user_agent="claude-cli/2.1.330 (external, cli)", x_claude_code_request_class="main")
    for path, expected in ((COUNT, "count_tokens"), (MESSAGES, "main")):
        found = engine().analyze_request(body(user(text("go"))), headers=sender, url_path=path)
        assert found.identity.request_class == expected
