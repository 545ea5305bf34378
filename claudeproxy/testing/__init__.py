"""A scripted mock of the Messages API, and conversations to send through it.

For `claudeproxy demo`, our tests, examples and benchmarks, and for anyone who tests a program that talks to the API::

    from claudeproxy.testing import MockUpstream, Replies, overloaded, text

    mock = MockUpstream(Replies([text("Hello"), overloaded(), text("There you are")]))

Read in this order: `replies` (what can be answered), `scripts` (who decides), `received` (what came), `server`
(`MockUpstream`), then the parts behind it: `endpoints`, `wire`, `events`, `bill`, `pacing`. Conversations:
`client` and `shapes` (the form of a request), `texts` and `prose` (the words), `conversations`.
"""

from claudeproxy.testing.bill import PromptBill, PromptCache, count_tokens, prompt_blocks
from claudeproxy.testing.client import Layout, Turn
from claudeproxy.testing.conversations import demo_conversation, long_conversation, prompt_fingerprints, script_for
from claudeproxy.testing.pacing import Gate
from claudeproxy.testing.received import Outcome, ReceivedRequest
from claudeproxy.testing.replies import (
    Answer,
    ErrorReply,
    Fault,
    FaultKind,
    NoAnswer,
    Pace,
    RawReply,
    Reply,
    Text,
    Thinking,
    ToolUse,
    overloaded,
    rate_limited,
    server_error,
    text,
    tool_use,
)
from claudeproxy.testing.scripts import NoReplyError, Replies, Script, always, has_result, has_tools, says
from claudeproxy.testing.server import MockUpstream

__all__ = [
    "Answer",
    "ErrorReply",
    "Fault",
    "FaultKind",
    "Gate",
    "Layout",
    "MockUpstream",
    "NoAnswer",
    "NoReplyError",
    "Outcome",
    "Pace",
    "PromptBill",
    "PromptCache",
    "RawReply",
    "ReceivedRequest",
    "Replies",
    "Reply",
    "Script",
    "Text",
    "Thinking",
    "ToolUse",
    "Turn",
    "always",
    "count_tokens",
    "demo_conversation",
    "has_result",
    "has_tools",
    "long_conversation",
    "overloaded",
    "prompt_blocks",
    "prompt_fingerprints",
    "rate_limited",
    "says",
    "script_for",
    "server_error",
    "text",
    "tool_use",
]
