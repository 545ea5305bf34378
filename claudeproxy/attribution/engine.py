"""AttributionEngine: a request body in, every byte of it assigned to a source out.

Apart as the one door to this package. Reads no files, clocks or sockets: rules, fingerprints and the token counter are
handed in. Analysis is incremental: a block is read once under the hash of its bytes, and explained once under all that
its explanation depends on (bytes, place, scene), so that a turn costs its new blocks and one scan over the rest.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from claudeproxy.attribution import names
from claudeproxy.attribution.conversation import find_places
from claudeproxy.attribution.explain import Explainer
from claudeproxy.attribution.facts import gather_facts, identify_request
from claudeproxy.attribution.identity import Hints, body_strings
from claudeproxy.attribution.overhead import cut_overhead, uncut
from claudeproxy.attribution.remembered import Remembered
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.views import read_block
from claudeproxy.model import BlockAttribution, Identity, RequestAttribution, SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from claudeproxy.attribution.facts import PriorBlock
    from claudeproxy.attribution.rules import RuleSet
    from claudeproxy.attribution.scene import Place, Scene
    from claudeproxy.attribution.system import Fingerprints
    from claudeproxy.attribution.views import BlockView
    from claudeproxy.model import RawHeaders, Segment

REVISION = "1"  # raise it when code changes what the same rules give
MAX_CACHED_BYTES = 64 * 1024 * 1024  # of block bytes held by the views; explanations hold about twice their text
MAX_SCENES = 1024


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
        self._count = count
        self._views: Remembered[bytes, BlockView] = Remembered(max_cached_bytes)
        self._explained: Remembered[tuple[bytes, Place, int], tuple[Segment, ...]] = Remembered(max_cached_bytes)
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
        history: Mapping[str, Sequence[PriorBlock]] | None = None,
    ) -> RequestAttribution:
        """Divide a request body (content decoding undone) among its sources. Never raises, whatever the bytes.

        `blocks` stand one to one with ``sansio.messages.layout(body).blocks``, and each block's segments tile its byte
        span. `overhead` tiles what lies outside the blocks; its byte offsets are those of the body. A body that cannot
        be cut has no blocks and one overhead segment. `history` maps a message id to the blocks that a request which
        continues it stands on: they name the tools and servers that this request only refers to.
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
        views = [self._view(body[block.start : block.end]) for block in cut.blocks]
        strings = body_strings(body, {member.key: member for member in cut.members})
        earlier = (history or {}).get(strings.get("previous_message_id", ""), ())
        identity = identify_request(cut, views, hints, strings)
        prior = [(block, self._view(block.raw)) for block in earlier]
        uses, scene = gather_facts(cut.blocks, views, prior, identity)
        number = self._number(scene)
        places = find_places(cut.blocks, views, uses, scene, request_class=_stated(hints, identity))
        return RequestAttribution(
            blocks=tuple(
                BlockAttribution(
                    json_path=block.json_path,
                    message_index=block.message_index,
                    role=block.role,
                    segments=self._explain(view, place, scene, number),
                )
                for block, view, place in zip(cut.blocks, views, places, strict=True)
            ),
            overhead=cut_overhead(body, cut),
            identity=identity,
        )

    def identify_source_type(self, tool_name: str) -> SourceType:
        """Return whether a tool's name is an MCP server's or a built-in tool's."""
        return SourceType.TOOL if self.extract_mcp_server_name(tool_name) is None else SourceType.MCP_SERVER

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

    def _view(self, raw: bytes) -> BlockView:
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        known = self._views.recall(digest)
        return known or self._views.remember(digest, read_block(raw, digest), len(raw))

    def _explain(self, view: BlockView, place: Place, scene: Scene, number: int) -> tuple[Segment, ...]:
        key = (view.digest, place, number)
        known = self._explained.recall(key)
        if known is not None:
            return known
        return self._explained.remember(key, self._explainer.explain(view, place, scene), len(view.raw))

    def _number(self, scene: Scene) -> int:
        if len(self._scenes) >= MAX_SCENES:  # numbers are never given twice, so entries under old ones just age out
            self._scenes.clear()
        if scene not in self._scenes:
            self._scenes[scene] = self._next_scene
            self._next_scene += 1
        return self._scenes[scene]


def _stated(hints: Hints, identity: Identity) -> str | None:
    """Return the request's class when the client itself stated it."""
    return identity.request_class if hints.get("x-claude-code-request-class") is not None else None


def _digest_of(fingerprints: Fingerprints) -> str:
    digest = hashlib.sha256()
    for version in sorted(fingerprints):
        digest.update(f"{version}:{','.join(sorted(fingerprints[version]))};".encode())
    return digest.hexdigest()[:8]
