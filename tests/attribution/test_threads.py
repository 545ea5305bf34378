"""Requests that continue a stateful thread: what they stand on is explained with them."""

from __future__ import annotations

import json

import pytest

from claudeproxy.attribution.threads import continued_message
from claudeproxy.sansio.messages import exact_block, layout
from claudeproxy.sansio.threads import ContextBlock, answer_blocks
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    CWD,
    ENVIRONMENT,
    body,
    check_partition,
    engine,
    labels,
    reminder,
    result,
    system,
    text,
    tool,
    use,
    user,
)

CONTINUES = {"type": "continue", "previous_message_id": "msg_1"}
MEMORY = reminder(
    "Codebase and user instructions are shown below.\n\nContents of /home/dev/app/CLAUDE.md "
    "(project instructions, checked into the codebase):\n\nPress flat.\n"
)
FIRST = body(
    user(MEMORY, text("go on")),
    system(ENVIRONMENT),
    tools=[tool("mcp__docs__find")],
    thread={"type": "create"},
)
ANSWER = [use("t", "mcp__docs__find")]
NEXT = body(user(result("t", "late")), system=[text(BILLING)], thread=CONTINUES)


def history() -> dict[str, list[ContextBlock]]:
    blocks = [
        ContextBlock(section=b.section, role=b.role, raw=exact_block(FIRST, b), opens_message=b.opens_message)
        for b in layout(FIRST).blocks
    ]
    return {"msg_1": [*blocks, *answer_blocks(ANSWER)]}


def test_the_whole_conversation_is_explained():
    """Tools, system prompt, memory, the answer, and the new result by its call."""
    found = engine().analyze_request(NEXT, headers=CLAUDE, history=history())
    assert labels(found, "Press flat.") == {"Memory: /home/dev/app/CLAUDE.md"}
    assert labels(found, "late") == {"MCP: docs"}
    assert [block.json_path for block in found.blocks if block.role == "assistant"] == ["$.messages[2].content[0]"]
    assert found.blocks[-1].json_path == "$.messages[3].content[0]"
    assert found.identity.project == CWD
    assert found.identity.thread == "continue"


def test_the_rebuilt_body_is_what_the_blocks_refer_to():
    """Each block's segments tile its bytes there; overhead is that of the body as sent."""
    found = engine().analyze_request(NEXT, headers=CLAUDE, history=history())
    assert found.context is not None
    assert [block.json_path for block in layout(found.context).blocks] == [block.json_path for block in found.blocks]
    for block, attribution in zip(layout(found.context).blocks, found.blocks, strict=True):
        ends = [segment.byte_end for segment in attribution.segments]
        assert ends[-1] == block.end - block.start
        assert [segment.byte_start for segment in attribution.segments] == [0, *ends[:-1]]
    names = {segment.path for segment in found.overhead if segment.kind == "parameter"}
    assert "$.thread" in names
    assert sum(segment.byte_end - segment.byte_start for segment in found.overhead) < len(NEXT)


def test_the_same_request_sent_whole_is_explained_alike():
    """Every text has the source that it has without a thread."""
    found = engine().analyze_request(NEXT, headers=CLAUDE, history=history())
    sent = json.loads(found.context or b"")
    del sent["thread"]
    plain = engine().analyze_request(json.dumps(sent, separators=(",", ":")).encode(), headers=CLAUDE)
    assert [block.segments for block in plain.blocks] == [block.segments for block in found.blocks]


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue"}, 7, None])
def test_what_continues_nothing_is_explained_as_sent(thread):
    """Also when `diagnostics` names the last answer, as full requests do."""
    more = {"diagnostics": {"previous_message_id": "msg_1"}} if thread != {"type": "continue"} else {}
    request = body(user(result("t", "late")), thread=thread, **more)
    found = engine().analyze_request(request, headers=CLAUDE, history=history())
    check_partition(request, found)
    assert found.context is None
    assert labels(found, "late") == {"Tool: unknown tool"}


def test_a_past_that_is_no_json_is_left_out():
    junk = {"msg_1": [ContextBlock(section=b.section, role=b.role, raw=b"{") for b in history()["msg_1"]]}
    found = engine().analyze_request(NEXT, headers=CLAUDE, history=junk)
    check_partition(NEXT, found)
    assert found.context is None


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        (NEXT, "msg_1"),
        (FIRST, None),
        (body(user(text("go")), thread={"type": "continue"}), ""),
        (body(user(text('"thread"'))), None),
        (b'{"thread"', None),
        (b"", None),
    ],
)
def test_which_message_is_continued(request_body, expected):
    assert continued_message(request_body) == expected
