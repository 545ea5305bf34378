from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from uuid import UUID

import pytest

from claudeproxy.errors import NotFoundError, StorageError
from claudeproxy.model import Accuracy, Identity, RequestAttribution, Source, SourceType
from claudeproxy.sansio.messages import exact_block, layout
from claudeproxy.store import labels
from tests.store.conversation import Conversation
from tests.store.exchanges import correlation, exchange, in_flight
from tests.store.explaining import IDENTITY, SOURCES, STRUCTURE, count, explain

BODY = (
    b'{"model":"m","tools":[{"name":"t"}],"system":"be kind","messages":['
    b'{"role":"user","content":[]},'
    b'{"role":"user","content":[{"type":"text","text":"hi"},{"type":"text","text":"there"}]},'
    b'{"role":"assistant","content":"h\xc3\xa9"}]}'
)


def save(storage, number, body=BODY, *, version="1", **options):
    (request_id,) = storage.record([exchange(number, body)], {})
    result = explain(body, **options)
    storage.save_attribution(request_id, result, count(result), rules_version=version)
    return request_id, result


def test_what_is_saved_comes_back_in_prompt_order(storage):
    """Every segment, with its path, place, hash and tokens; overhead last."""
    request_id, result = save(storage, 0)
    found = storage.attributions(request_id)
    expected = [
        (block.json_path + one.path, block.message_index, block.role, one)
        for block in result.blocks
        for one in block.segments
    ] + [(one.path, -1, "system", one) for one in result.overhead]
    assert len(found) == len(expected) == 16
    for got, (path, index, role, segment) in zip(found, expected, strict=True):
        assert (got.json_path, got.message_index, got.message_role) == (path, index, role)
        assert (got.source, got.kind, got.rule) == (segment.source, segment.kind, segment.rule)
        assert (got.start, got.end, got.token_count) == (segment.start, segment.end, len(segment.text))
        assert got.content_hash == sha256(segment.text.encode()).hexdigest()
        assert (got.confidence, got.evidence) == (0.5, segment.evidence)
        assert (got.accuracy, got.cost, got.price_class, got.effective) == (Accuracy.ESTIMATED, None, None, False)
    assert "$.messages[1].content[1].text" in [got.json_path for got in found]
    assert "$.messages[2].content.text" in [got.json_path for got in found]


def test_ids_are_uuids_of_request_and_ordinal(storage):
    """Unique, of version 5, and the same when the attribution is made again."""
    request_id, _ = save(storage, 0)
    first = [one.id for one in storage.attributions(request_id)]
    assert len(set(first)) == len(first)
    assert {UUID(one).version for one in first} == {5}
    save(storage, 0, version="2")
    assert [one.id for one in storage.attributions(request_id)] == first


def test_byte_spans_tile_each_block_as_it_is_stored(storage):
    """Offsets are those of the block without its cache_control, whichever request brought it."""
    marked = BODY.replace(b'"there"', b'"there","cache_control":{"type":"ephemeral"}')
    request_id, _ = save(storage, 0, marked)
    found = storage.attributions(request_id)[:-1]
    for index, block in enumerate(layout(marked).blocks):
        spans = [(one.byte_start, one.byte_end) for one in found[index * 3 : index * 3 + 3]]
        size = len(exact_block(marked, block))
        assert [spans[0][0], spans[1][0], spans[2][0], spans[2][1]] == [0, spans[0][1], spans[1][1], size]


def test_sources_sum_to_the_requests_total(storage):
    request_id, result = save(storage, 0)
    totals = storage.sources(request_id)
    assert {total.source for total in totals} == {STRUCTURE, *SOURCES.values()}
    assert (
        sum(total.token_count for total in totals) == sum(count(result)) == storage.get_request(request_id).total_tokens
    )
    assert [total.token_count for total in totals] == sorted((total.token_count for total in totals), reverse=True)
    assert {(total.accuracy, total.cost) for total in totals} == {(Accuracy.ESTIMATED, None)}
    sums = dict.fromkeys((total.source for total in totals), 0)
    for one in storage.attributions(request_id):
        sums[one.source] += one.token_count
    assert sums == {total.source: total.token_count for total in totals}


def test_identity_is_kept(storage):
    request_id, _ = save(storage, 0)
    assert storage.get_request(request_id).identity == IDENTITY
    assert storage.get_request(request_id).model == "claude-opus-4-8"


def test_a_turn_adds_segments_for_its_new_blocks_only(storage):
    """200 KB of history explained before costs no row."""
    rows = []
    for number, (body, _) in enumerate(Conversation(tools=5, system_size=500, result_size=300).turns(12)):
        request_id, result = save(storage, number, body)
        assert len(storage.attributions(request_id)) == len(result.segments())
        assert storage.get_request(request_id).total_tokens == sum(
            total.token_count for total in storage.sources(request_id)
        )
        rows.append(storage._connection.execute("SELECT count(*) FROM segments").fetchone()[0])
    growth = [after - before for before, after in pairwise(rows)]
    assert max(growth) <= 3 * 6


def test_equal_overhead_is_shared_between_requests_and_counted_within_one(storage):
    """The brackets between two hundred messages are one row with a count; its tokens are those of all of them."""
    for number in range(5):
        (request_id,) = storage.record([exchange(number, BODY)], {})
        result = explain(BODY)
        result = replace(result, overhead=[*result.overhead, *result.overhead])
        storage.save_attribution(request_id, result, count(result), rules_version="1")
    assert storage._connection.execute("SELECT count(*) FROM loose_segments").fetchone()[0] == 1
    assert storage._connection.execute("SELECT count(*) FROM request_segments").fetchone()[0] == 5
    assert storage.attributions(request_id)[-1].token_count == 6
    assert storage.get_request(request_id).total_tokens == sum(count(result))


def test_one_block_on_two_paths_shares_its_explanation_where_it_is_equal(storage):
    """A new tool in front gives the history new nodes, not new segments; another meaning gets its own."""
    rows = []
    for number, tools in enumerate((b"", b'"tools":[{"name":"t"}],')):
        save(storage, number, b"{" + tools + b'"messages":[{"role":"user","content":"hello"}]}')
        rows.append(storage._connection.execute("SELECT count(*) FROM segments").fetchone()[0])
    assert rows == [3, 6]
    body = b'{"tools":[{"name":"u"}],"messages":[{"role":"user","content":"hello"}]}'
    save(storage, 2, body, rule="another")
    assert storage._connection.execute("SELECT count(*) FROM segments").fetchone()[0] == 12
    assert storage.verify().ok


def test_a_block_that_changes_in_every_request_keeps_its_own_segments(storage):
    """The billing header's node is shared, its text is not."""
    found = []
    for number in range(2):
        body = b'{"system":[{"type":"text","text":"x-anthropic-billing-header: n=%d"}],"messages":[]}' % number
        request_id, _ = save(storage, number, body)
        found.append([(one.json_path, one.content_hash) for one in storage.attributions(request_id)])
    assert [path for path, _ in found[0]] == ["$.system[0]", "$.system[0].text", "$.system[0]", "$.model"]
    assert found[0][1][1] != found[1][1][1]


def test_a_body_stored_whole_keeps_its_segments_on_the_request(storage, monkeypatch):
    monkeypatch.setattr("claudeproxy.store.writer.cut_body", lambda body: 1 / 0)
    request_id, result = save(storage, 0)
    assert storage.summary().stored_whole == 1
    found = storage.attributions(request_id)
    assert [one.json_path for one in found[:3]] == ["$.tools[0]", "$.tools[0].text", "$.tools[0]"]
    assert storage.get_request(request_id).total_tokens == sum(count(result))


def test_newer_rules_replace_what_older_ones_found(storage):
    request_id, _ = save(storage, 0, rule="old")
    assert storage.underived("1", 10) == []
    assert storage.underived("2", 10) == [request_id]
    save(storage, 0, version="2", rule="new", identity=Identity(model="other"))
    assert {one.rule for one in storage.attributions(request_id)} == {"new"}
    versions = storage._connection.execute("SELECT DISTINCT rules FROM explanations").fetchall()
    assert len(versions) == 1  # nothing refers to the old explanations any more: they are gone
    assert storage.get_request(request_id).identity == Identity(model="other")
    assert storage.underived("2", 10) == []
    assert storage.underived("1", 10) == [request_id]


def test_only_ended_requests_with_a_body_wait_for_an_explanation(storage):
    ids = storage.record([exchange(0, BODY), in_flight(1, BODY), exchange(2, b""), exchange(3, b"junk")], {})
    assert sorted(storage.underived("1", 10)) == sorted([ids[0], ids[3]])
    assert len(storage.underived("1", 1)) == 1
    storage.save_attribution(
        ids[3], RequestAttribution(blocks=[], overhead=[], identity=Identity()), [], rules_version="1"
    )
    assert storage.underived("1", 10) == [ids[0]]
    assert storage.get_request(ids[3]).total_tokens == 0
    assert [storage.is_attributed(request_id) for request_id in ids] == [False, False, False, True]


def test_what_was_explained_in_flight_stays_explained(storage):
    (request_id,) = storage.record([in_flight(0, BODY)], {})
    result = explain(BODY)
    storage.save_attribution(request_id, result, count(result), rules_version="1")
    storage.record([exchange(0, BODY)], {})
    assert storage.is_attributed(request_id)
    assert storage.get_request(request_id).identity == IDENTITY
    assert len(storage.attributions(request_id)) == 16


def test_counts_must_be_one_for_each_segment(storage):
    (request_id,) = storage.record([exchange(0, BODY)], {})
    with pytest.raises(StorageError, match="token counts"):
        storage.save_attribution(request_id, explain(BODY), [1, 2], rules_version="1")
    with pytest.raises(NotFoundError):
        storage.save_attribution(correlation(9), explain(BODY), [], rules_version="1")
    assert storage.attributions(request_id) == []


def test_sources_of_one_name_from_two_plugins_are_two(storage):
    (request_id,) = storage.record([exchange(0, BODY)], {})
    result = explain(BODY)
    plain = Source(type=SourceType.MCP_SERVER, name="context7")
    through = Source(type=SourceType.MCP_SERVER, name="context7", via="hub")
    overhead = [replace(result.overhead[0], source=source, text="\ud800") for source in (plain, through)]
    result = replace(result, overhead=overhead)
    storage.save_attribution(request_id, result, count(result), rules_version="1")
    servers = [total.source for total in storage.sources(request_id) if total.source.type is SourceType.MCP_SERVER]
    assert len(servers) == len(set(servers)) == 3


def test_memories_are_bounded(storage, monkeypatch):
    monkeypatch.setattr(labels, "MAX_REMEMBERED", 2)
    for number, (body, _) in enumerate(Conversation(tools=3, system_size=100, result_size=50).turns(4)):
        save(storage, number, body)
    assert len(storage._explanations._labels._known) <= 2
    assert storage.verify().ok
