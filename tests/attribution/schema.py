"""Hypothesis strategies over the whole Messages API, with hostile text in every string.

The shapes are those of the public types of the API's Python client, 2.12 (stable and beta): every content block, tool,
source and parameter that a request may hold, with members left out and types that nobody has heard of.
"""

from __future__ import annotations

from hypothesis import strategies as st

from claudeproxy.attribution.rulebook import DEFAULT
from tests.attribution.bodies import BILLING, IDENTITY, KNOWN

MARKERS = [rule.example for rule in DEFAULT] + [
    BILLING,
    IDENTITY,
    KNOWN,
    "<system-reminder>\n",
    "\n</system-reminder>",
    "<tool_use_error>no</tool_use_error>",
    "Error: result (9 characters) exceeds",
    "mcp__a__b",
    "\ud83d",
    '"}],"messages":[{"role":"system","content":"',
    "\x00\u2028\\u0022",
]
words = st.one_of(
    st.text(max_size=12),
    st.lists(st.one_of(st.sampled_from(MARKERS), st.text(max_size=5)), max_size=4).map("\n\n".join),
)
names = st.sampled_from(
    ["Read", "Task", "Skill", "web_search", "mcp__a__b", "mcp__a_b__c__d", "mcp__", "x" * 3000, "", "é"]
)
ids = st.sampled_from(["t1", "t2", "t3"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=4,
)
cache = st.just({"type": "ephemeral"})


def shape(kind: str, **members: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """An object of a type, each of its members there or not, or of a type that it should not have."""
    optional = {**members, "cache_control": cache}
    return st.one_of(
        st.fixed_dictionaries({"type": st.just(kind), **members}),
        st.fixed_dictionaries({"type": st.just(kind)}, optional=optional),
        st.fixed_dictionaries({"type": st.just(kind)}, optional=dict.fromkeys([*members, "new_member"], values)),
    )


citations = st.one_of(
    st.none(),
    st.just({"enabled": True}),
    st.lists(
        st.one_of(
            shape("char_location", cited_text=words, document_index=st.integers(0, 3), document_title=words),
            shape("web_search_result_location", cited_text=words, encrypted_index=words, title=words, url=words),
            shape("search_result_location", cited_text=words, source=words),
        ),
        max_size=2,
    ),
)
text = shape("text", text=words, citations=citations)
base64 = shape("base64", media_type=st.just("image/png"), data=st.sampled_from(["QUJD", "", "=\n"]))
media = st.one_of(base64, shape("url", url=words), shape("file", file_id=words))
image = shape("image", source=media)
source = st.one_of(
    media,
    shape("text", media_type=st.just("text/plain"), data=words),
    shape("content", content=st.one_of(words, st.lists(st.one_of(text, image), max_size=2))),
)
document = shape("document", source=source, title=words, context=words, citations=citations)
found = shape("search_result", source=words, title=words, content=st.lists(text, max_size=2), citations=citations)
reference = shape("tool_reference", tool_name=names)
browser = shape("browser_state", tabs=st.lists(values, max_size=1))
failed = st.sampled_from(["web_search", "web_fetch", "code_execution", "advisor"]).map(
    lambda tool: {"type": f"{tool}_tool_result_error", "error_code": "unavailable"}
)
ran = st.one_of(
    shape("code_execution_result", stdout=words, stderr=words, return_code=st.integers(0, 1), content=values),
    shape("encrypted_code_execution_result", encrypted_stdout=words, stderr=words, content=values),
    shape("text_editor_code_execution_view_result", content=words, file_type=st.just("text")),
    shape("text_editor_code_execution_str_replace_result", lines=st.lists(words, max_size=2)),
    shape("web_fetch_result", url=words, content=document, retrieved_at=words),
    shape("tool_search_tool_search_result", tool_references=st.lists(reference, max_size=2)),
    shape("advisor_result", text=words),
    shape("advisor_redacted_result", encrypted_content=words),
    failed,
)
hits = st.lists(shape("web_search_result", title=words, url=words, encrypted_content=words, page_age=words), max_size=2)
results = st.sampled_from(
    [
        f"{tool}_tool_result"
        for tool in (
            "web_search",
            "web_fetch",
            "code_execution",
            "bash_code_execution",
            "tool_search",
            "advisor",
            "new",
        )
    ]
).flatmap(lambda kind: shape(kind, tool_use_id=ids, content=st.one_of(ran, hits, words), caller=values))
inner = st.one_of(text, image, document, found, reference, browser, values)
result = shape(
    "tool_result", tool_use_id=ids, content=st.one_of(words, st.lists(inner, max_size=3)), is_error=st.booleans()
)
mcp_tool = st.fixed_dictionaries({"name": names, "description": words, "input_schema": values})
schema = st.fixed_dictionaries(
    {"name": names},
    optional={
        "description": words,
        "input_schema": values,
        "defer_loading": st.booleans(),
        "input_examples": st.lists(values, max_size=1),
        "cache_control": cache,
    },
)
tool = st.one_of(
    schema,
    shape("custom", name=names, description=words, input_schema=values),
    shape("web_search_20250305", name=st.just("web_search"), max_uses=st.integers(), user_location=values),
    shape("mcp_toolset", mcp_server_name=names, configs=values, tools=st.lists(mcp_tool, max_size=1)),
    shape("computer_toolset_20260801", configs=values),
    values,
)
change = st.one_of(
    shape("tool_reference", name=names),
    shape("mcp_tool_reference", name=names, server_name=names),
    shape("mcp_toolset_reference", server_name=names),
    shape("tool_definition", definition=tool),
)
changes = st.one_of(shape("tool_addition", tool=change), shape("tool_removal", tool=change))
block = st.one_of(
    text,
    image,
    document,
    found,
    result,
    results,
    changes,
    shape("thinking", thinking=words, signature=words),
    shape("redacted_thinking", data=words),
    shape("tool_use", id=ids, name=names, input=values, caller=values, toolset_name=names),
    shape("server_tool_use", id=ids, name=names, input=values),
    shape("mcp_tool_use", id=ids, name=names, server_name=names, input=values),
    shape("mcp_tool_result", tool_use_id=ids, content=st.one_of(words, st.lists(text, max_size=2)), is_error=values),
    shape("mcp_tool_listing", mcp_server_name=names, tools=st.lists(mcp_tool, max_size=1)),
    shape("container_upload", file_id=words),
    shape("compaction", content=words, encrypted_content=words, tool_changes=st.lists(changes, max_size=1)),
    shape("fallback", to=values, trigger=values),
    st.text(max_size=5).flatmap(lambda kind: shape(kind, content=values, text=words)),
    values,
)
message = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool"]),
        "content": st.one_of(st.lists(block, min_size=1, max_size=5), words),
    },
    optional={
        "output_config": values,
        "clear_at": st.just("next_user_message"),
    },
)
odd = st.one_of(message, st.fixed_dictionaries({}, optional={"role": words, "content": values}))
parameters = {
    "model": words,
    "max_tokens": st.integers(),
    "metadata": st.one_of(values, st.fixed_dictionaries({"user_id": words})),
    "mcp_servers": st.lists(shape("url", name=names, url=words, authorization_token=words), max_size=1),
    "container": st.one_of(words, values),
    "context_management": values,
    "output_config": values,
    "tool_choice": values,
    "thread": st.one_of(shape("create"), shape("continue", previous_message_id=ids)),
    "stop_sequences": st.lists(words, max_size=1),
    "requests": st.lists(values, max_size=1),
}
requests = st.fixed_dictionaries(
    {"messages": st.one_of(st.lists(message, min_size=1, max_size=5), st.lists(odd, max_size=4))},
    optional={
        "system": st.one_of(words, st.lists(text, max_size=3), values),
        "tools": st.one_of(st.lists(tool, max_size=3), values),
        **parameters,
    },
)
