"""The client's half of a conversation: requests shaped as Claude Code 2.1.330 shapes them.

Apart from `conversations` (what is said) because this is the form: header names and their order, the billing header
block, where injected text goes, the `cache_control` that moves, the string a lone text block turns into once it is
history. Measured on the real client from npm with a mock upstream, first-party mode; see `Layout`. It invents ids from
names, so the same conversation has the same bytes always and everywhere.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.testing.replies import Reply, ToolUse
from claudeproxy.testing.shapes import as_json, glued, reminder, rendered, text_block, with_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from claudeproxy.model import RawHeaders
    from claudeproxy.testing.replies import ContentBlock

# Newer than any real one: what rules know of a certain version's prompt must not be looked for in invented text.
CLIENT_VERSION = "2.1.9999"
PROJECT = "/home/robin/herbarium"
_NAMESPACE = uuid.UUID("c1a0de00-0000-5000-8000-000000000000")
_PLACEHOLDER = {
    "name": "DeferredToolPlaceholder",
    "description": "Stands for tools that are not loaded.",
    "input_schema": {"type": "object", "properties": {}},
    "defer_loading": True,
}
_BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,prompt-caching-scope-2026-01-05"
)


class Layout(StrEnum):
    """Where injected text goes (design notes call them A and C)."""

    CLASSIC = "A"  # `<system-reminder>` blocks before the prompt, and glued into tool results
    CURRENT = "C"  # messages of role "system"; memory and attribution stay in user blocks


_MODELS = {Layout.CLASSIC: "claude-sonnet-4-6", Layout.CURRENT: "claude-opus-5-5"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange: what the client sends and what the API is to answer.

    `headers` are in the client's order and casing, up to `x-client-request-id`; whoever sends them adds `Host` and
    `Content-Length`. `agent` is the subagent's id, None for the main conversation; `label` says what happens.
    """

    label: str
    agent: str | None
    headers: RawHeaders
    body: bytes
    reply: Reply
    target: str = "/v1/messages?beta=true"


@dataclass(kw_only=True)
class Session:
    """What the requests of one run of the client share."""

    name: str
    layout: Layout = Layout.CURRENT
    version: str = CLIENT_VERSION
    used_tools: dict[str, bool] = field(default_factory=dict)  # name -> whether it is an MCP tool
    prompts: int = 0
    answers: int = 0

    @property
    def model(self) -> str:
        """A model that makes the client use this layout."""
        return _MODELS[self.layout]

    @property
    def prompt_id(self) -> str:
        """The id of the prompt that is being worked on."""
        return self.id(f"prompt {self.prompts}")

    def id(self, label: str) -> str:
        """Make a UUID from a name, the same one each time."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.name}/{label}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A subagent: 17 hex digits, and its type as the header names it (``custom`` for one that the user wrote)."""

    id: str
    type: str = "custom"


class Dialogue:
    """One thread of messages: the main conversation, or a subagent's."""

    def __init__(
        self,
        session: Session,
        *,
        system: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]],
        agent: Agent | None = None,
    ) -> None:
        self._session = session
        self._system = list(system)
        self._tools = list(tools)
        self._agent = agent
        self._messages: list[dict[str, object]] = []
        self._loaded: list[Mapping[str, object]] = []
        self._previous: tuple[str, str] | None = None  # request id and message id of the last answer
        self._calls: tuple[str, ...] = ()  # ids of the last answer's tool calls

    def __repr__(self) -> str:
        return f"<Dialogue {self._agent or 'main'} messages={len(self._messages)}>"

    @property
    def calls(self) -> tuple[str, ...]:
        """The ids of the tool calls in the last answer: results go to them in this order."""
        return self._calls

    def prompt(self, text: str, *, reminders: Iterable[str] = (), injected: Sequence[str] = ()) -> None:
        """Say something as the user. `reminders` are memory and the like, `injected` everything else, in order."""
        blocks = [text_block(reminder(item)) for item in reminders]
        if self._session.layout is Layout.CLASSIC:
            blocks = [text_block(reminder(item)) for item in injected] + blocks
        self._add_user([*blocks, text_block(text)], injected)

    def results(
        self,
        *results: object,
        injected: Sequence[str] = (),
        following: Iterable[str] = (),
        is_error: bool | None = None,
    ) -> None:
        """Give the results of the last answer's calls, in their order; `following` are text blocks after them."""
        extra = {} if is_error is None else {"is_error": is_error}
        blocks: list[dict[str, object]] = [
            {"tool_use_id": call, "type": "tool_result", "content": result, **extra}
            for call, result in zip(self._calls, results, strict=True)
        ]
        if self._session.layout is Layout.CLASSIC and injected:
            blocks[-1]["content"] = glued(blocks[-1]["content"], [reminder(item) for item in injected])
        self._add_user([*blocks, *map(text_block, following)], injected)

    def load(self, *tools: Mapping[str, object]) -> None:
        """Load deferred tools: they join `tools` from the next request on, still marked as deferred."""
        self._loaded += [{**tool, "defer_loading": True} for tool in tools]

    def turn(self, label: str, *content: ContentBlock) -> Turn:
        """Send what has been said, and have it answered with `content`. The answer becomes history."""
        session = self._session
        session.answers += 1
        request_id, message_id = (
            f"req_{session.name}_{session.answers:04d}",
            f"msg_{session.name}_{session.answers:04d}",
        )
        answer = [with_id(block, f"toolu_{session.name}_{session.answers:04d}_{i}") for i, block in enumerate(content)]
        turn = Turn(
            label=label,
            agent=self._agent.id if self._agent else None,
            headers=self._headers(),
            body=self._body(),
            reply=Reply(content=tuple(answer), message_id=message_id, headers=((b"request-id", request_id.encode()),)),
        )
        self._messages.append({"role": "assistant", "content": [as_json(block) for block in answer]})
        self._calls = tuple(block.id or "" for block in answer if isinstance(block, ToolUse))
        self._previous = (request_id, message_id)
        for block in answer:
            if isinstance(block, ToolUse):
                session.used_tools[block.name] = block.name.startswith("mcp__")
        return turn

    def _add_user(self, blocks: list[dict[str, object]], injected: Sequence[str]) -> None:
        first = not self._messages
        self._messages.append({"role": "user", "content": blocks})
        if injected and self._session.layout is Layout.CURRENT:
            effort = {"output_config": {"effort": "medium"}} if first else {}
            self._messages.append({"role": "system", "content": [text_block("\n\n".join(injected))], **effort})

    def _headers(self) -> RawHeaders:
        session, agent = self._session, self._agent
        kind = "main" if agent is None else "subagent"
        betas = _BETAS if session.layout is Layout.CLASSIC else f"{_BETAS},per-turn-control-2026-07-01"
        fields = [
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("User-Agent", f"claude-cli/{session.version} (external, sdk-cli)"),
            ("X-Claude-Code-Session-Id", session.id("session")),
            ("X-Stainless-Arch", "x64"),
            ("X-Stainless-Lang", "js"),
            ("X-Stainless-OS", "Linux"),
            ("X-Stainless-Package-Version", "0.128.0"),
            ("X-Stainless-Retry-Count", "0"),
            ("X-Stainless-Runtime", "node"),
            ("X-Stainless-Runtime-Version", "v26.12.1"),
            ("X-Stainless-Timeout", "600"),
            ("anthropic-beta", betas),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("anthropic-version", "2023-06-01"),
            ("x-api-key", "sk-ant-api03-dummy"),
            ("x-app", "cli"),
            ("x-claude-1p-request-class", "main" if agent is None else "blocking-subagent"),
        ]
        if agent is not None:
            fields += [("x-claude-code-agent-id", agent.id), ("x-claude-code-agent-type", agent.type)]
        used = [{"name": name, "mcp": True} if mcp else {"name": name} for name, mcp in session.used_tools.items()]
        fields += [
            ("x-claude-code-prompt-id", session.prompt_id),
            ("x-claude-code-request-class", kind),
            ("x-claude-code-sandy-plover", json.dumps(used, separators=(",", ":"))),
            ("x-client-request-id", session.id(f"request {session.answers}")),
        ]
        return tuple((name.encode(), value.encode()) for name, value in fields)

    def _body(self) -> bytes:
        session = self._session
        messages = rendered(self._messages)
        identity = {"device_id": hashlib.sha256(session.name.encode()).hexdigest(), "account_uuid": ""}
        body = {
            "model": session.model,
            "messages": messages,
            "system": [self._billing_header(messages), *self._system],
            "tools": self._all_tools(),
            "metadata": {
                "user_id": json.dumps({**identity, "session_id": session.id("session")}, separators=(",", ":"))
            },
            "max_tokens": 32000,
            "thinking": {"type": "adaptive", "display": "omitted"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "output_config": {"effort": "medium"},
            "diagnostics": {"previous_message_id": self._previous[1] if self._previous else None},
            "stream": True,
        }
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()

    def _billing_header(self, messages: Sequence[object]) -> dict[str, object]:
        session = self._session
        check = hashlib.sha256(f"{session.answers} {len(messages)}".encode()).hexdigest()[:5]
        parts = [f"cc_version={session.version}.c78", "cc_entrypoint=sdk-cli", f"cch={check}"]
        if self._agent is not None:
            parts.append("cc_is_subagent=true")
        if self._previous is not None:
            parts.append(f"cc_prev_req={self._previous[0]}")
        parts.append(f"cc_prompt_id={session.prompt_id}")
        if self._agent is None:
            parts += ["cc_turn_origin=sdk", "cc_prompt_index=0", f"cc_turn_index={session.prompts + 1}"]
        return text_block(f"x-anthropic-billing-header: {'; '.join(parts)};")

    def _all_tools(self) -> list[Mapping[str, object]]:
        if self._agent is not None:
            return self._tools
        tools = [*self._tools, *self._loaded]
        return [*tools[:-1], _PLACEHOLDER, tools[-1]]  # where the real client puts it
