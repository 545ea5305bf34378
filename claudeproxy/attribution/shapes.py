"""Blocks whose type says by itself whose they are, wherever they stand.

Apart from `conversation`, where position decides: the Messages API gives these types to one party only. Sources of
the shapes: the public types of the API's Python client (version 2.12) and its documentation. A type that is not here
belongs to its position; so does one that stands where the API would not put it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.attribution.names import framework, tool
from claudeproxy.attribution.scene import Place, Role, Scene
from claudeproxy.attribution.spans import Claim
from claudeproxy.attribution.views import string_member, tool_change
from claudeproxy.model import Source, SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError, object_members

if TYPE_CHECKING:
    from claudeproxy.attribution.views import BlockView

SUMMARY = Source(type=SourceType.COMPACTION, name="summary")


def shape_claim(view: BlockView, place: Place, scene: Scene) -> Claim | None:
    """Return the claim on a block by its type; None when its position decides."""
    if view.type == "compaction" and place.role is Role.ASSISTANT:
        return Claim(source=SUMMARY, kind="body", rule="block.compaction")
    if view.type == "fallback" and place.role is Role.ASSISTANT:  # where another model took over: never in the prompt
        return Claim(source=Source(type=SourceType.OVERHEAD, name="fallback"), kind="marker", rule="block.fallback")
    if view.type == "server_tool_use" and view.use is not None and place.role is Role.ASSISTANT:
        source = scene.servers.tool_source(view.use.name) or tool(view.use.name)
        return Claim(source=source, kind="call", rule="block.server-tool", evidence=view.use.name)
    if view.type in {"mcp_toolset", "mcp_tool_listing"} and place.role in {Role.TOOL, Role.ASSISTANT}:
        server = string_member(view.raw, view.members, "mcp_server_name")
        return _server(server, scene, "schema", f"block.{view.type}") if server else None
    if view.type in {"tool_addition", "tool_removal"} and place.role is Role.INJECTED:
        return _change(view, scene)
    return None


def _server(server: str, scene: Scene, kind: str, rule: str) -> Claim:
    return Claim(source=scene.servers.source(server), kind=kind, rule=rule, evidence=server)


def _change(view: BlockView, scene: Scene) -> Claim | None:
    """Claim a change of the tool set for the tool: its schema, a reference to it, or the notice that it is gone."""
    change = tool_change(view.raw, view.members)
    if change is None:
        return None
    kind = "schema" if change.defines else "reference"
    kind = "notice" if view.type == "tool_removal" else kind
    if change.server is not None:
        return _server(change.server, scene, kind, f"block.{view.type}")
    if change.name is None:
        return Claim(source=framework("tool availability"), kind=kind, rule=f"block.{view.type}")
    source = scene.servers.tool_source(change.name) or tool(change.name)
    return Claim(source=source, kind=kind, rule=f"block.{view.type}", evidence=change.name)


def has_failed(view: BlockView) -> bool:
    """Tell whether a result says that its tool failed: by flag, by its content's type, or in the client's words."""
    member = view.members.get("is_error")
    if member is not None and view.raw[member.start : member.end] == b"true":
        return True
    content = view.members.get("content")
    if content is None:
        return False
    if view.raw[content.start : content.start + 1] == b"{":  # {"type": "web_fetch_tool_result_error", ...}
        try:
            inner = {item.key: item for item in object_members(view.raw, content.start, content.end)}
        except JSONSpanError:
            return False
        return (string_member(view.raw, inner, "type") or "").endswith("_error")
    return any(view.raw.startswith(marker, content.start) for marker in _FAILURES)


_WORDS = (b"Error: result (", b"<tool_use_error>")
_FAILURES = tuple(before + words for words in _WORDS for before in (b'"', b'[{"type":"text","text":"'))
