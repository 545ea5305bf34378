"""AttributionEngine: a request body in, every byte of it assigned to a source out.

Apart as the one door to this package. Reads no files, clocks or sockets: rules, fingerprints and the token counter are
handed in. Analysis is incremental: a block is read once under the hash of its bytes, and explained once under all that
its explanation depends on (bytes, place, scene), so that a turn costs its new blocks and one scan over the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.attribution import names
from claudeproxy.attribution.batches import batch_parts, divide_batch
from claudeproxy.attribution.confirm import confirm, doubtful
from claudeproxy.attribution.conversation import find_places
from claudeproxy.attribution.explain import Explainer
from claudeproxy.attribution.facts import gather_facts, identify_request
from claudeproxy.attribution.identity import Hints, body_strings, continues_thread
from claudeproxy.attribution.overhead import cut_overhead, uncut
from claudeproxy.attribution.prompts import COUNT
from claudeproxy.attribution.recent import Divided, Recent
from claudeproxy.attribution.remembered import Remembered
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.rules import Scope
from claudeproxy.attribution.scene import Role
from claudeproxy.attribution.views import read_block
from claudeproxy.attribution.witness import doubts, tell, unspelled
from claudeproxy.model import BlockAttribution, Identity, RequestAttribution, SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import layout
from claudeproxy.sansio.threads import continue_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from claudeproxy.attribution.rules import RuleSet
    from claudeproxy.attribution.scene import Place, Scene
    from claudeproxy.attribution.system import Fingerprints
    from claudeproxy.attribution.turns import TurnMemory
    from claudeproxy.attribution.views import BlockView
    from claudeproxy.model import Evidence, RawHeaders, Segment, WholeText
    from claudeproxy.sansio.messages import BlockSpan, RequestLayout
    from claudeproxy.sansio.threads import ContextBlock

REVISION = "4"  # raise it when code changes what the same rules give
# Of memory, for the views and for the explanations each: some 1,500 blocks of 1 KB, three long conversations. A block
# that was forgotten is read again, which takes a tenth of a millisecond.
MAX_CACHED_BYTES = 8 * 1024 * 1024
# What an entry takes beside its block, and how many times it holds the block: by tracemalloc, for 50 B to 20 KB.
_ENTRY_BYTES = 1024
_VIEW_COPIES, _EXPLAINED_COPIES = 4, 2
MAX_SCENES = 1024
_CONFIRMED = frozenset({Role.INJECTED, Role.RESULT})  # where the client puts what its transcripts tell of


class _Explained(NamedTuple):
    """One block's explanation, with what passes between requests (`witness`)."""

    segments: tuple[Segment, ...]
    whole: tuple[WholeText, ...]
    undecided: tuple[str, ...]
    unspelled: tuple[str, ...]


class AttributionEngine:
    """Divides requests among their sources. Not thread-safe: one engine a thread.

    :param rules: what the client writes into conversations; the default table, or an extended one.
    :param count: counts the tokens of a text, for `count_tokens`.
    :param fingerprints: hashes of the client's prompt text by version (``evidence.fingerprints.load_fingerprints``);
        without them the text that users add to the system prompt cannot be told from the client's.
    """

    def __init__(
        self,
        *,
        rules: RuleSet = DEFAULT,
        count: Callable[[str], int] | None = None,
        fingerprints: Fingerprints | None = None,
        max_cached_bytes: int = MAX_CACHED_BYTES,
    ) -> None:
        known = dict(fingerprints or {})
        self._explainer = Explainer(rules=rules, fingerprints=known)
        self._tool_rules = rules.of(Scope.TOOLS)
        self._count = count
        self._views: Remembered[bytes, BlockView] = Remembered(max_cached_bytes)
        self._explained: Remembered[tuple[bytes, Place, int], _Explained] = Remembered(max_cached_bytes)
        self._recent = Recent(max_cached_bytes // 4)
        self._turns: TurnMemory = Remembered(max_cached_bytes // 4)
        self._scenes: dict[Scene, int] = {}  # numbered: their hash is costly, and few differ
        self._next_scene = 0
        self.version = f"{REVISION}.{rules.version}.{_digest_of(known)}"

    def __repr__(self) -> str:
        return f"<AttributionEngine {self.version}: {len(self._views)} blocks known>"

    def analyze_request(
        self,
        body: bytes,
        *,
        headers: RawHeaders | None = None,
        history: Mapping[str, Sequence[ContextBlock]] | None = None,
        evidence: Evidence | None = None,
        url_path: str | None = None,
    ) -> RequestAttribution:
        """Divide a request body (content decoding undone) among its sources. Never raises, whatever the bytes.

        `blocks` stand one to one with ``sansio.messages.layout(body).blocks``, and each block's segments tile its byte
        span. `overhead` tiles what lies outside the blocks; its byte offsets are those of the body. A body that cannot
        be cut has no blocks and one overhead segment. A batch has the blocks of all its requests (`batches`).

        `history` maps the id of a message to the blocks that a request stands on which continues its stateful thread:
        the context that the message answered, and the message. Such a request's `blocks` are then those of the whole
        conversation, laid out in `context`; `overhead` stays that of the body as sent. `evidence` is what else is
        known: which call started this agent, what the client says of the texts that it injected. `url_path` tells a
        request for a size (``/v1/messages/count_tokens``) from others; without it, a body without `max_tokens` is one.
        """
        hints = Hints(headers)
        try:
            cut = layout(body)
        except JSONSpanError:
            client, version = hints.client()
            return RequestAttribution(
                blocks=(),
                overhead=uncut(body),
                identity=Identity(request_class="other", client=client, client_version=version),
            )
        if parts := batch_parts(body, cut):
            return divide_batch(
                body, cut, parts, lambda part, inner: self._divide(part, inner, hints, url_path, None, evidence)
            )
        return self._divide(body, cut, hints, url_path, history, evidence)

    def _divide(
        self,
        body: bytes,
        cut: RequestLayout,
        hints: Hints,
        url_path: str | None,
        history: Mapping[str, Sequence[ContextBlock]] | None = None,
        evidence: Evidence | None = None,
    ) -> RequestAttribution:
        strings = body_strings(body, {member.key: member for member in cut.members})
        earlier = (history or {}).get(strings.get("previous_message_id", "")) if continues_thread(strings) else None
        context, whole = _effective(body, cut, earlier or ())
        like = self._recent.most_like(whole.blocks)
        views = [
            known if known is not None and block is before else self._view(context, block, known)
            for block, (before, known) in zip(whole.blocks, like.seen(), strict=False)
        ]
        identity = identify_request(whole, views, hints, strings, evidence, path=url_path)
        uses, scene = gather_facts(whole.blocks, views, identity, evidence)
        if self._tool_rules:
            scene = replace(scene, servers=replace(scene.servers, rules=self._tool_rules, _sources={}))
        number = self._number(scene)
        places = find_places(
            whole.blocks, views, uses, scene, request_class=_stated(hints, identity), memory=self._turns, number=number
        )
        open_ones: set[int] = set()

        def explained(at: int) -> BlockAttribution:
            block, view, place = whole.blocks[at], views[at], places[at]
            found = self._explain(view, place, scene, number)
            if found.undecided or (place.role in _CONFIRMED and doubtful(found.segments)):
                open_ones.add(at)
            if found.undecided and evidence is not None:
                known = [text for one in found.undecided for text in evidence.whole_texts(identity.session_id, one)]
                found = self._explain(view, replace(place, known=tuple(known)), scene, number) if known else found
            segments = found.segments
            if place.role in _CONFIRMED and evidence is not None and identity.session_id is not None:
                segments = confirm(segments, identity.session_id, evidence)
            # What a result leaves open was told before, or never will be: nobody waits for it.
            return BlockAttribution(
                json_path=block.json_path,
                message_index=block.message_index,
                role=block.role,
                segments=segments,
                whole=found.whole,
                undecided=found.unspelled + (found.undecided if place.role is Role.SYSTEM else ()),
            )

        told = like.told(whole.blocks, views, places, number)
        blocks = tuple(explained(at) if known is None else known for at, known in enumerate(told))
        firm = [None if at in open_ones else block for at, block in enumerate(blocks)]
        self._recent.keep(Divided(whole.blocks, views, places, firm, number, whole.length))
        return RequestAttribution(
            blocks=blocks,
            overhead=cut_overhead(body, cut),
            identity=identity,
            context=None if context is body else context,
        )

    def identify_source_type(self, tool_name: str) -> SourceType:
        """Return whether a tool's name is an MCP server's or a built-in tool's; or what a user's rule says."""
        source = names.Servers(rules=self._tool_rules).tool_source(tool_name)
        return SourceType.TOOL if source is None else source.type

    def extract_mcp_server_name(self, tool_name: str, known_servers: Collection[str] = ()) -> str | None:
        """Return the server in ``mcp__SERVER__TOOL``, the longest known one that fits; None for other tools."""
        return names.extract_mcp_server_name(tool_name, known_servers)

    def count_tokens(self, text: str) -> int:
        """Return the estimated number of tokens.

        :raises ValueError: when the engine was made without a counter.
        """
        if self._count is None:
            raise ValueError("this engine has no token counter: AttributionEngine(count=TokenCounter().count)")
        return self._count(text)

    def _view(self, body: bytes, block: BlockSpan, like: BlockView | None) -> BlockView:
        """Read a block; `like` is the view of what stood there a turn ago, which is compared before all else."""
        raw = body[block.start : block.end]
        if like is not None and like.raw == raw:
            return like
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        known = self._views.recall(digest)
        return known or self._views.remember(digest, read_block(raw, digest), _ENTRY_BYTES + _VIEW_COPIES * len(raw))

    def _explain(self, view: BlockView, place: Place, scene: Scene, number: int) -> _Explained:
        key = (view.digest, place, number)
        known = self._explained.recall(key)
        if known is not None:
            return known
        segments = self._explainer.explain(view, place, scene)
        told, open_texts = tell(segments, view, place, scene), doubts(segments, view, place)
        found = _Explained(segments, told, open_texts, unspelled(view, place, scene))
        return self._explained.remember(key, found, _ENTRY_BYTES + _EXPLAINED_COPIES * len(view.raw))

    def _number(self, scene: Scene) -> int:
        if len(self._scenes) >= MAX_SCENES:  # numbers are never given twice, so entries under old ones just age out
            self._scenes.clear()
        if scene not in self._scenes:
            self._scenes[scene] = self._next_scene
            self._next_scene += 1
        return self._scenes[scene]


def _effective(body: bytes, cut: RequestLayout, earlier: Sequence[ContextBlock]) -> tuple[bytes, RequestLayout]:
    """Return the body that stands for the whole context, and its layout: what was sent where nothing went before."""
    if not earlier:
        return body, cut
    context = continue_body(body, cut, earlier)
    try:
        return context, layout(context)
    except JSONSpanError:  # what the caller knows of the past is no JSON
        return body, cut


def _stated(hints: Hints, identity: Identity) -> str | None:
    """Return the request's class when the client itself stated it, or the address that it was sent to."""
    stated = hints.get("x-claude-code-request-class") is not None or identity.request_class == COUNT
    return identity.request_class if stated else None


def _digest_of(fingerprints: Fingerprints) -> str:
    digest = hashlib.sha256()
    for version in sorted(fingerprints):
        digest.update(f"{version}:{','.join(sorted(fingerprints[version]))};".encode())
    return digest.hexdigest()[:8]
