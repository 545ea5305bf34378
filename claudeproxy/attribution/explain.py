"""Explains one block: given its place, who brought each piece of it.

Apart from finding places because an explanation is a pure function of (block, place, scene) and is remembered under
them. Walks the members of a block in byte order; a member that nobody knows belongs to the block's own source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.containers import divide_description
from claudeproxy.attribution.custom import claim_paragraphs, rename
from claudeproxy.attribution.names import USER, framework, tool
from claudeproxy.attribution.plugins import proven
from claudeproxy.attribution.prompts import COMPACTION, SIDE_CALL
from claudeproxy.attribution.rules import Scope
from claudeproxy.attribution.scene import Place, Role, Scene
from claudeproxy.attribution.segmenter import is_glued_reminder, split_injected, split_reminder, split_result, supposed
from claudeproxy.attribution.shapes import has_failed, shape_claim
from claudeproxy.attribution.sidecalls import divide_compaction, divide_side_call
from claudeproxy.attribution.spans import Claim, Span, cover
from claudeproxy.attribution.system import split_system
from claudeproxy.attribution.tiling import Tiler
from claudeproxy.attribution.views import is_reminder, string_member
from claudeproxy.model import SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError, array_items, object_members
from claudeproxy.sansio.jsonstrings import decode_string

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.attribution.rules import RuleSet
    from claudeproxy.attribution.system import Fingerprints
    from claudeproxy.attribution.views import BlockView
    from claudeproxy.model import Segment
    from claudeproxy.sansio.jsonspans import Member
    from claudeproxy.sansio.jsonstrings import JSONString

# Members that address, configure or sign: structure, not content.
_FRAME = frozenset(
    {"type", "id", "tool_use_id", "cache_control", "is_error", "defer_loading", "eager_input_streaming", "strict"}
    | {"caller", "toolset_name"}
)
_OPAQUE = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
_LISTS = frozenset({"content", "tool_references"})  # of blocks
_TEXTS = frozenset({"text", "content", "description"})  # cut inside; names, titles and the like are one piece
_ARGUMENTS = "\n\nARGUMENTS: "
MAX_DEPTH = 6  # lists of blocks inside lists of blocks; the API nests them twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Rules and fingerprints, bound."""

    rules: RuleSet
    fingerprints: Fingerprints

    def explain(self, view: BlockView, place: Place, scene: Scene) -> tuple[Segment, ...]:
        """Return the segments that tile the block, under the names that the rules give. Never raises."""
        return rename(proven(self._walk(view, place, scene), scene), self.rules.of(Scope.NAMES))

    def _walk(self, view: BlockView, place: Place, scene: Scene) -> tuple[Segment, ...]:
        walk = _Walk(self.rules, self.fingerprints, view, place, scene)
        claim = shape_claim(view, place, scene) or _own_claim(place)
        if place.role is Role.RESULT and has_failed(view):
            claim = replace(claim, kind="error")
        if view.type == "string" and view.text is not None:
            walk.text("", view.text, claim)
        elif not view.order or claim.kind == "marker":
            walk.tiler.value("", 0, len(view.raw), claim, counted=claim.kind != "marker")
        else:
            walk.members("", view.order, claim)
        return walk.tiler.finish()


class _Walk:
    """One walk over one block."""

    def __init__(self, rules: RuleSet, fingerprints: Fingerprints, view: BlockView, place: Place, scene: Scene) -> None:
        self.tiler = Tiler(view.raw)
        self._rules = rules
        self._fingerprints = fingerprints
        self._view = view
        self._place = place
        self._scene = scene
        self._raw = view.raw

    def members(self, path: str, members: Sequence[Member], claim: Claim, *, depth: int = 0) -> None:
        """Walk an object's members in the order of their bytes."""
        for member in members:
            where = f"{path}.{member.key}"
            first = self._raw[member.start]
            if member.key in _FRAME or (member.key == "citations" and first == ord("{")):  # a switch
                continue
            if member.key == "citations":  # of an answer: not billed again when they are sent back
                self.tiler.value(where, member.start, member.end, replace(claim, kind="citation"), counted=False)
            elif first == ord('"'):
                self._token(where, member, claim, cut=member.key in _TEXTS and depth == 0)
            elif first == ord("[") and member.key in _LISTS and depth < MAX_DEPTH:
                self._items(where, member, claim, depth)
            elif first == ord("{") and member.key == "content" and depth < MAX_DEPTH:
                self._content(where, member, claim, depth)
            elif first == ord("{") and member.key == "source":
                self._media(where, member, claim, depth)
            else:
                self.tiler.value(where, member.start, member.end, claim)

    def text(self, path: str, text: JSONString, claim: Claim, *, cut: bool = True) -> None:
        """Add a string, cut as its place demands."""
        if text.text:
            spans = self._split(text.text, claim) if cut else []
            self.tiler.string(path, text, cover(spans, 0, len(text.text), claim))

    def _split(self, text: str, claim: Claim) -> list[Span]:
        place, scene = self._place, self._scene
        if place.role is Role.SYSTEM:
            spans = split_system(text, scene, self._fingerprints, place.known)
            return claim_paragraphs(text, spans, self._rules.of(Scope.SYSTEM))
        if place.role is Role.INJECTED and not place.spoken:
            return self._injected(text)
        if place.role is Role.RESULT:
            return split_result(text, claim, self._rules, scene, place)
        if place.role is Role.TOOL and scene.claude_code and claim.source.type is SourceType.TOOL:
            return divide_description(text, claim, scene, place)
        if claim.rule == SIDE_CALL:
            return divide_side_call(text, claim)
        if claim.rule == COMPACTION:
            return divide_compaction(text, claim)
        if claim.source.type is SourceType.SKILL and claim.kind == "body":
            return _arguments(text, claim)
        return []

    def _injected(self, text: str) -> list[Span]:
        if is_reminder(text):
            return split_reminder(text, self._rules, self._scene, self._place)
        return split_injected(text, 0, len(text), self._rules, self._scene, self._place)

    def _token(self, path: str, member: Member, claim: Claim, *, cut: bool) -> None:
        try:
            text = decode_string(self._raw, member.start, member.end)
        except JSONSpanError:
            self.tiler.value(path, member.start, member.end, claim)
            return
        if member.key in _OPAQUE or (member.key == "data" and self._view.type == "redacted_thinking"):
            self._opaque(path, text, claim)
        else:
            self.text(path, text, claim, cut=cut)

    def _opaque(self, path: str, text: JSONString, claim: Claim) -> None:
        if text.text:
            self.tiler.string(path, text, [Span(0, len(text.text), replace(claim, kind="opaque"))], opaque=True)

    def _items(self, path: str, member: Member, claim: Claim, depth: int) -> None:
        """Walk a nested list of blocks: a tool result's content, for one.

        Items of a result are the tool's own to the last character; reminders come as further items (layout A).
        """
        try:
            spans = array_items(self._raw, member.start, member.end)
        except JSONSpanError:
            self.tiler.value(path, member.start, member.end, claim)
            return
        glued = self._first_glued(spans) if depth == 0 else len(spans)
        for number, (low, high) in enumerate(spans):
            where = f"{path}[{number}]"
            members = self._object(low, high)
            if not members:
                self.tiler.value(where, low, high, claim)
            elif number >= glued:
                self._glued_item(where, members, claim)
            else:
                self.members(where, members, self._reference(members, claim), depth=depth + 1)

    def _content(self, path: str, member: Member, claim: Claim, depth: int) -> None:
        """Walk a result's content that is one object: a fetched document, the output of code."""
        members = self._object(member.start, member.end)
        if members:
            self.members(path, members, claim, depth=depth + 1)
        else:
            self.tiler.value(path, member.start, member.end, claim)

    def _first_glued(self, spans: Sequence[tuple[int, int]]) -> int:
        """Return from which item on a result's content is reminders that the client added to the list."""
        first = len(spans)
        while self._place.role is Role.RESULT and self._scene.glues and first > 1:
            text = self._item_text(self._object(*spans[first - 1]))
            if text is None or not is_glued_reminder(text.text, self._rules, self._place):
                break
            first -= 1
        return first

    def _glued_item(self, path: str, members: Sequence[Member], claim: Claim) -> None:
        for member in members:
            text = self._item_text([member]) if member.key == "text" else None
            if text is not None:
                spans = [Span(span.start, span.end, supposed(span.claim)) for span in self._injected(text.text)]
                self.tiler.string(f"{path}.text", text, cover(spans, 0, len(text.text)))
            elif member.key not in _FRAME:
                self.tiler.value(f"{path}.{member.key}", member.start, member.end, claim)

    def _item_text(self, members: Sequence[Member]) -> JSONString | None:
        text = next((member for member in members if member.key == "text"), None)
        try:
            return decode_string(self._raw, text.start, text.end) if text is not None else None
        except JSONSpanError:
            return None

    def _reference(self, members: Sequence[Member], claim: Claim) -> Claim:
        """Return the claim on an item; a ``tool_reference`` is the named tool's: it loads that tool's schema."""
        named = {member.key: member for member in members}
        name = string_member(self._raw, named, "tool_name")
        if name is None or string_member(self._raw, named, "type") != "tool_reference":
            return claim
        source = self._scene.servers.tool_source(name) or tool(name)
        return replace(claim, source=source, kind="reference", evidence=name)

    def _media(self, path: str, member: Member, claim: Claim, depth: int) -> None:
        """Add an image's or document's `source`: base64 is billed by pixels and pages, so its text is not kept."""
        order = self._object(member.start, member.end)
        members = {inner.key: inner for inner in order}
        if string_member(self._raw, members, "type") == "content" and depth < MAX_DEPTH:  # a document made of blocks
            self.members(path, order, claim, depth=depth + 1)
            return
        data = members.get("data")
        try:
            text = decode_string(self._raw, data.start, data.end) if data is not None else None
        except JSONSpanError:
            text = None
        if text is None:
            self.tiler.value(path, member.start, member.end, claim)
        elif string_member(self._raw, members, "type") == "text":
            self.text(f"{path}.data", text, claim, cut=False)
        else:
            self._opaque(f"{path}.data", text, claim)

    def _object(self, start: int, end: int) -> list[Member]:
        try:
            return object_members(self._raw, start, end) if self._raw[start] == ord("{") else []
        except JSONSpanError:
            return []


def _own_claim(place: Place) -> Claim:
    if place.role is Role.INJECTED:
        if place.spoken:
            return Claim(source=USER, kind="instructions", rule="system.application")
        return Claim(source=framework("system message"), kind="text", rule="system.message")
    if place.role is Role.SYSTEM or place.source is None:
        return Claim(source=framework("system prompt"), kind="instructions", rule="system.block", confidence=0.5)
    return Claim(
        source=place.source, kind=place.kind, rule=place.rule, evidence=place.evidence, confidence=place.confidence
    )


def _arguments(text: str, claim: Claim) -> list[Span]:
    """Cut the arguments off a skill's body: the client appends them last."""
    at = text.rfind(_ARGUMENTS)
    return [Span(at, len(text), replace(claim, kind="arguments"))] if at >= 0 else []
