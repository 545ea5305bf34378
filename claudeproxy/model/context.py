"""Where the context came from: sources, the segments of a block that belong to them, and who asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class SourceType(StrEnum):
    """The kinds of source, spelled as the API spells them."""

    USER = "User"
    FRAMEWORK = "Framework"
    MCP_SERVER = "McpServer"
    SKILL = "Skill"
    TOOL = "Tool"
    MEMORY = "Memory"
    HOOK = "Hook"
    COMMAND = "Command"
    AGENT = "Agent"
    PLUGIN = "Plugin"
    ASSISTANT = "Assistant"
    ATTACHMENT = "Attachment"
    COMPACTION = "Compaction"
    OVERHEAD = "Overhead"


_LABELS = {SourceType.MCP_SERVER: "MCP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who brought a piece of context. `name` is None only for `User` and `Overhead`."""

    type: SourceType
    name: str | None = None
    plugin: str | None = None
    via: str | None = None  # the aggregating MCP server through which this one was reached

    @property
    def label(self) -> str:
        """For people: ``MCP: context7``, ``Skill: vectorize``, ``User``."""
        kind = _LABELS.get(self.type, str(self.type))
        return kind if self.name is None else f"{kind}: {self.name}"


class Accuracy(StrEnum):
    """How a token number was come by."""

    EXACT = "exact"
    SHARED = "shared"  # an exact sum divided over a few blocks
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A piece of one block that belongs to one source.

    `start` and `end` are code points of the decoded string at `path` (both None: the whole value, of any JSON type).
    `byte_start` and `byte_end` are offsets in the block's raw bytes, `cache_control` member included; the byte spans
    of a block's segments tile it without gap or overlap: structure around a string belongs to its first segment's
    neighbour of kind ``structure`` (source Overhead).
    """

    source: Source
    kind: str  # schema, listing, instructions, body, call, result, prompt, text, thinking, structure, ...
    path: str  # within the block: "" for the block itself, ".text", ".content[0].text", ".input.prompt"
    start: int | None
    end: int | None
    byte_start: int
    byte_end: int
    rule: str
    evidence: str | None = None
    confidence: float = 1.0
    text: str = ""  # the decoded text that is counted and hashed; JSON text for a non-string value


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeText:
    """A text that is its owner's from the first to the last character, as some request showed it: length and hash.

    Where another request has it glued to somebody else's text, this tells where the one ends and the other begins.
    """

    owner: str  # `text_owner` of a source, or `result_owner` of a tool call
    length: int  # code points, line breaks at the end left out
    sha256: bytes  # of the same, as UTF-8

    @classmethod
    def of(cls, owner: str, text: str) -> WholeText:
        """Take down a text."""
        words = text.rstrip("\n")
        return cls(owner=owner, length=len(words), sha256=_digest(words))

    def begins(self, text: str) -> bool:
        """Tell whether a text begins with this one, and the next line goes on with something else."""
        return text[self.length : self.length + 1] in {"", "\n"} and _digest(text[: self.length]) == self.sha256

    def ends(self, text: str) -> bool:
        """Tell whether a text ends with this one, as a paragraph of its own."""
        words = text.rstrip("\n")
        start = len(words) - self.length
        return start > 1 and words[start - 2 : start] == "\n\n" and _digest(words[start:]) == self.sha256


def text_owner(source: Source) -> str:
    """Return the `WholeText.owner` of what a source brings into system prompts."""
    return "\x1f".join((source.type, source.name or "", source.plugin or "", source.via or ""))


def result_owner(call_id: str) -> str:
    """Return the `WholeText.owner` of what a tool answered to a call."""
    return f"result\x1f{call_id}"


def server_owner(name: str) -> str:
    """Return the `WholeText.owner` of a server's own name, which is told where the client spells it."""
    return f"server\x1f{name}"


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAttribution:
    """The segments of one block, in the order of `RequestLayout.blocks`."""

    json_path: str  # "$.messages[0].content[1]"
    message_index: int  # -1 for tools, system and overhead
    role: str  # "system" for tools, system and overhead
    segments: Sequence[Segment]
    whole: Sequence[WholeText] = ()  # what this block tells about others
    undecided: Sequence[str] = ()  # owners of whole texts that would tell more about this block


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asked: read from headers, metadata and the body (attribution/identity.py). None where nothing says so."""

    session_id: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    agent_type: str | None = None
    request_class: str | None = None  # main, subagent, compaction, auxiliary, count_tokens, ... or "other"
    client: str | None = None  # "claude-cli", "anthropic-python", ...
    client_version: str | None = None
    model: str | None = None
    project: str | None = None  # the client's working directory
    previous_message_id: str | None = None
    thread: str | None = None  # of a stateful thread: "create" or "continue", as the client says
    retry_count: int = 0  # attempts before this one, where the client counts them
    begins_prompt: bool = False  # the last turn is a new prompt, not answers to tool calls


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """A tool call that started a subagent, as the answer that made it was seen."""

    id: str  # of the tool_use
    agent_type: str | None  # its subagent_type; None: it named none
    parent_agent_id: str | None  # of the agent that made the call; None: the main conversation


class Evidence(Protocol):
    """What else is known about a request, asked for by `AttributionEngine.analyze_request`. Answers never raise."""

    def agent_call(self, session_id: str, prompt: str) -> AgentCall | None:
        """Return the call in this session that started an agent with exactly this prompt; the latest of several."""
        ...

    def injected(self, session_id: str, text: str) -> Source | None:
        """Return the source of a text that this session's client says it injected; None when nobody says so."""
        ...

    def whole_texts(self, session_id: str | None, owner: str) -> Sequence[WholeText]:
        """Return what is known of an owner's texts from where they stood alone. Asked where a text is in doubt.

        Of `server_owner` the text is the name itself: any answer says that the client spelled it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAttribution:
    """The whole answer of `AttributionEngine.analyze_request`."""

    blocks: Sequence[BlockAttribution]
    overhead: Sequence[Segment]  # bytes outside tools, system and messages, named by top-level key
    identity: Identity
    context: bytes | None = None  # a continued thread's rebuilt body, which `blocks` refer to; None: the body as sent

    def segments(self) -> list[Segment]:
        """All segments in prompt order: tools, system, messages, then overhead."""
        return [s for block in self.blocks for s in block.segments] + list(self.overhead)
