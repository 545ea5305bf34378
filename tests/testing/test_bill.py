"""The mock's bill: prefixes, breakpoints, lifetimes."""

from __future__ import annotations

from claudeproxy.testing.bill import PromptBill, PromptCache, count_tokens, prompt_blocks

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def block(text: str, **extra: object) -> dict[str, object]:
    return {"type": "text", "text": text, **extra}


def request(*contents: object, **members: object) -> dict[str, object]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)], **members}


def bill(cache: PromptCache, body: dict[str, object], *, model: str = "m", now: float = 0.0) -> PromptBill:
    result = cache.bill(model, prompt_blocks(body), now=now)
    assert result.total == sum(b.tokens for b in prompt_blocks(body)), "the parts add up to the prompt"
    return result


def test_tokens_are_bytes_by_four_rounded_up() -> None:
    assert [count_tokens(t) for t in ("", "a", "abcd", "abcde", "ééé")] == [0, 1, 1, 2, 2]


def test_blocks_come_in_the_order_of_the_prompt_and_a_string_is_a_block() -> None:
    body = request("hello", [block("yes"), block("no")], system="be kind", tools=[{"name": "Bash"}])
    places = [b.canonical.split(b"\n")[0] for b in prompt_blocks(body)]
    assert places == [b"tools", b"system", b"user+", b"assistant+", b"assistant"]
    as_block = request(
        [block("hello")], [block("yes"), block("no")], system=[block("be kind")], tools=[{"name": "Bash"}]
    )
    assert prompt_blocks(body) == prompt_blocks(as_block)


def test_unknown_shapes_are_left_out() -> None:
    assert prompt_blocks({"messages": [1, {"role": "user", "content": None}], "tools": "x", "system": 7}) == []


def test_nothing_is_cached_without_a_breakpoint() -> None:
    cache = PromptCache(minimum=0)
    for _ in range(2):
        result = bill(cache, request("hello"))
        assert (result.cache_read, result.created_5m) == (0, 0)


def test_a_prefix_is_written_once_and_then_read_and_extended() -> None:
    cache = PromptCache(minimum=0)
    first = bill(cache, request([block("a" * 400, **MARK)]))
    assert (first.input_tokens, first.cache_read) == (0, 0)
    assert first.created_5m == first.total
    again = bill(cache, request([block("a" * 400)], [block("b")], [block("c" * 400, **MARK), block("tail")]))
    assert again.cache_read == first.total
    assert again.created_5m > 100
    assert again.input_tokens > 0


def test_a_moved_breakpoint_and_a_string_that_was_a_block_do_not_change_the_prefix() -> None:
    cache = PromptCache(minimum=0)
    first = bill(cache, request([block("hello", **MARK)]))
    assert bill(cache, request("hello", "yes", [block("more", **MARK)])).cache_read == first.total


def test_one_and_the_same_prefix_on_another_model_is_not_read() -> None:
    cache = PromptCache(minimum=0)
    bill(cache, request([block("hello", **MARK)]))
    assert bill(cache, request([block("hello", **MARK)]), model="other").cache_read == 0


def test_a_changed_tool_makes_everything_after_it_new() -> None:
    cache = PromptCache(minimum=0)
    bill(cache, request([block("hello", **MARK)], tools=[{"name": "Bash"}]))
    assert bill(cache, request([block("hello", **MARK)], tools=[{"name": "Read"}])).cache_read == 0


def test_an_hour_and_five_minutes_are_billed_and_expire_apart() -> None:
    cache = PromptCache(minimum=0)
    body = request([block("u" * 40, **MARK)], system=[block("s" * 400, **HOUR)])
    first = bill(cache, body)
    assert first.created_1h > 100
    assert 0 < first.created_5m < 50
    assert first.usage()["cache_creation"] == {
        "ephemeral_5m_input_tokens": first.created_5m,
        "ephemeral_1h_input_tokens": first.created_1h,
    }
    later = bill(cache, body, now=301.0)
    assert (later.cache_read, later.created_1h, later.created_5m) == (first.created_1h, 0, first.created_5m)
    assert bill(cache, body, now=301.0 + 3601.0).cache_read == 0


def test_a_read_renews_an_entry() -> None:
    cache = PromptCache(minimum=0)
    body = request([block("hello", **MARK)])
    bill(cache, body)
    assert bill(cache, request([block("hello")], "x", [block("y", **MARK)]), now=200.0).cache_read > 0
    assert bill(cache, body, now=450.0).cache_read > 0


def test_a_breakpoint_looks_back_over_twenty_blocks_only() -> None:
    for distance, found in ((19, True), (20, False)):
        cache = PromptCache(minimum=0)
        bill(cache, request([block("start", **MARK)]))
        more = [block(f"{i}") for i in range(distance - 1)]
        body = request([block("start"), *more, block("end", **MARK)])
        assert (bill(cache, body).cache_read > 0) is found


def test_a_short_prefix_is_not_cached() -> None:
    cache = PromptCache()
    for _ in range(2):
        result = bill(cache, request([block("short", **MARK)]))
        assert result.input_tokens == result.total


def test_the_billing_header_block_is_neither_counted_nor_part_of_the_prefix() -> None:
    cache = PromptCache(minimum=0)
    bodies = [
        request([block("hi", **MARK)], system=[block(f"x-anthropic-billing-header: cch={n};"), block("be kind")])
        for n in range(2)
    ]
    assert len(prompt_blocks(bodies[0])) == 2
    bill(cache, bodies[0])
    assert bill(cache, bodies[1]).input_tokens == 0


def test_a_deferred_tool_counts_where_it_is_loaded() -> None:
    tool = {"name": "mcp__a__b", "description": "d" * 400, "defer_loading": True}
    plain = request("hello", tools=[tool])
    assert [b.canonical.split(b"\n")[0] for b in prompt_blocks(plain)] == [b"user+"]
    reference = {"type": "tool_result", "content": [{"type": "tool_reference", "tool_name": "mcp__a__b"}]}
    loaded = prompt_blocks(request([reference], tools=[tool]))
    assert len(loaded) == 1
    assert loaded[0].tokens > 100
    unknown = {"type": "tool_result", "content": [{"type": "tool_reference", "tool_name": "gone"}]}
    assert prompt_blocks(request([unknown], tools=[tool]))[0].tokens < 50


def test_automatic_caching_marks_the_last_block() -> None:
    cache = PromptCache(minimum=0)
    body = request("hello", **MARK)
    assert bill(cache, body).created_5m > 0
    assert bill(cache, body).input_tokens == 0
