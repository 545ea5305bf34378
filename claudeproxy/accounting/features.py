"""What a block is made of, before any weight: token classes of its text, and its structure.

Apart because it is the only reader of block types in accounting, and because it needs no bill: the same block has the
same make-up for every model, so it is worked out once and kept by the block's hash.

A block's local size is the dot product of `BlockMakeup.counts` with a model's weights, plus `fixed`. How the API writes
tools and calls into a prompt is not published; what is counted here is what carries information (names, descriptions,
the schema as JSON, arguments as plain text), and the constants of the structure take up the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from claudeproxy.accounting.classes import CLASSES, count_classes
from claudeproxy.accounting.images import source_tokens
from claudeproxy.sansio.answer import is_object, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from claudeproxy.accounting.models import ModelTraits

STRUCTURE = (
    "preamble",  # once, where there are tools: what the API says about them
    "message",  # where a message begins
    "tool",
    "property",  # of a tool's schema, at any depth
    "call",
    "parameter",  # of a call
    "result",
    "block",  # a block of text
)
FEATURES = (*STRUCTURE, *CLASSES)
NUMBER = len(FEATURES)
_AT = {name: index for index, name in enumerate(STRUCTURE)}
MESSAGE = _AT["message"]
PREAMBLE = _AT["preamble"]

# Hidden thinking comes as base64 of something longer than the text: a first guess until the bill names its tokens.
_CHARACTERS_A_TOKEN = 6
_HIDDEN = frozenset({"encrypted_content", "encrypted_index", "signature", "cache_control"})


@dataclass(frozen=True, slots=True)
class BlockMakeup:
    """What a block is made of. `fixed` tokens are known without weights: images, pages, hidden content."""

    kind: str  # "tool", or the block's type
    counts: tuple[int, ...]  # in the order of FEATURES; whether it opens a message is not in it
    fixed: int
    mark: bytes  # recognises an answer's block when it comes back in a request, whatever its JSON looks like
    references: tuple[str, ...] = ()  # deferred tools that this result brings into the prompt; of a tool: its name


def read_tool(raw: bytes, traits: ModelTraits) -> BlockMakeup:
    """Work out a tool's make-up from its JSON; anything unreadable counts as plain text."""
    tool = parse_json(raw)
    if not is_object(tool):
        return _plain(raw)
    schema = tool.get("input_schema")
    texts = [_text(tool.get("name")), _text(tool.get("description"))]
    if schema is not None:
        texts.append(_json(schema))
    structure = _structure(tool=1, property=_properties(schema))
    return _makeup("tool", texts, structure, 0, mark_of(tool), (texts[0],))


def read_block(raw: bytes, traits: ModelTraits) -> BlockMakeup:
    """Work out the make-up of a system or content block from its JSON (an object, or a bare string)."""
    block = parse_json(raw)
    if isinstance(block, str):
        block = {"type": "text", "text": block}
    if not is_object(block):
        return _plain(raw)
    kind = _text(block.get("type"))
    mark = mark_of(block)
    if kind in {"tool_use", "server_tool_use", "mcp_tool_use"}:
        arguments = block.get("input")
        texts = [_text(block.get("name")), *_arguments(arguments)]
        structure = _structure(call=1, parameter=len(arguments) if is_object(arguments) else 0)
        return _makeup(kind, texts, structure, 0, mark)
    if kind in {"thinking", "redacted_thinking"}:
        text = _text(block.get("thinking"))
        hidden = 0 if text else len(_text(block.get("signature")) or _text(block.get("data"))) // _CHARACTERS_A_TOKEN
        return _makeup(kind, [text], _structure(), hidden, mark)
    texts, fixed, references = [], 0, []
    for text, cost, reference in _content(block, traits):
        texts.append(text)
        fixed += cost
        references += [reference] if reference else []
    result = kind.endswith("_tool_result") or kind == "tool_result"
    structure = _structure(result=1) if result else _structure(block=1)
    return _makeup(kind, texts, structure, fixed, mark, tuple(references))


def mark_of(block: Mapping[str, object]) -> bytes:
    """Return the hash by which an answer's block is recognised: its id, or else what it says."""
    kind = _text(block.get("type"))
    said = block.get("id") or block.get("signature") or block.get("text") or block.get("thinking") or block.get("data")
    words = said if isinstance(said, str) else _json({k: v for k, v in block.items() if k != "cache_control"})
    return blake2b(f"{kind}\0{words}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _makeup(
    kind: str, texts: list[str], structure: list[int], fixed: int, mark: bytes, references: tuple[str, ...] = ()
) -> BlockMakeup:
    classes = [count_classes(text) for text in texts if text]
    counts = (*structure, *(map(sum, zip(*classes, strict=True)) if classes else (0,) * len(CLASSES)))
    return BlockMakeup(kind, counts, fixed, mark, references)


def _plain(raw: bytes) -> BlockMakeup:
    text = raw.decode("utf-8", "replace")
    return _makeup("", [text], _structure(), 0, blake2b(raw, digest_size=16).digest())


def _structure(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in STRUCTURE]


def _content(block: Mapping[str, object], traits: ModelTraits) -> Iterator[tuple[str, int, str]]:
    """Yield text, fixed tokens and referenced tool of a block and of everything nested in it."""
    kind = _text(block.get("type"))
    if kind == "text":
        yield _text(block.get("text")), 0, ""
    elif kind in {"image", "document"} and block.get("source") is not None:
        yield from _source(block, traits)
    elif kind == "tool_reference":
        yield "", 0, _text(block.get("tool_name"))
    elif "content" in block:
        yield from _nested(block.get("content"), traits)
    else:
        visible = {key: value for key, value in block.items() if key not in _HIDDEN and key != "type"}
        hidden = sum(len(_text(block.get(key))) for key in ("encrypted_content", "encrypted_index"))
        yield " ".join(_strings(visible)), hidden // _CHARACTERS_A_TOKEN, ""


def _nested(content: object, traits: ModelTraits) -> Iterator[tuple[str, int, str]]:
    if isinstance(content, str):
        yield content, 0, ""
    for item in content if isinstance(content, list) else [content]:
        if is_object(item):
            yield from _content(item, traits)


def _source(block: Mapping[str, object], traits: ModelTraits) -> Iterator[tuple[str, int, str]]:
    source = block.get("source")
    words = [_text(block.get("title")), _text(block.get("context"))]
    if is_object(source) and source.get("type") == "text":
        words.append(_text(source.get("data")))
    yield "\n".join(filter(None, words)), source_tokens(source, traits), ""
    if is_object(source) and source.get("type") == "content":
        yield from _nested(source.get("content"), traits)


def _arguments(arguments: object) -> Iterator[str]:
    if not is_object(arguments):
        yield _json(arguments) if arguments is not None else ""
        return
    for name, value in arguments.items():
        yield name
        yield value if isinstance(value, str) else _json(value)


def _properties(schema: object) -> int:
    if isinstance(schema, list):
        return sum(map(_properties, schema))
    if not is_object(schema):
        return 0
    own = schema.get("properties")
    return (len(own) if is_object(own) else 0) + sum(map(_properties, schema.values()))


def _strings(value: object) -> Iterator[str]:
    if is_object(value):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, str):
        yield value
    elif value is not None:
        yield _json(value)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
