"""Bodies that follow one another as turns do: longer, a breakpoint moved, edited, cut short, of other conversations."""

from __future__ import annotations

import json

from hypothesis import strategies as st

WORDS = st.text(max_size=12)
BREAKPOINT = {"cache_control": {"type": "ephemeral"}}
BLOCKS = st.builds(
    lambda text, marked: {"type": "text", "text": text, **(BREAKPOINT if marked else {})}, WORDS, st.booleans()
)
CONTENTS = st.one_of(WORDS, st.lists(st.one_of(BLOCKS, st.integers()), max_size=3))
MESSAGES = st.builds(
    lambda role, content, first: {"role": role, "content": content} if first else {"content": content, "role": role},
    st.sampled_from(["user", "assistant"]),
    CONTENTS,
    st.booleans(),
)


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """Return some bodies, each made from one before it."""
    made: list[bytes] = []
    messages: list[object] = draw(st.lists(MESSAGES, max_size=4))
    tools, system = draw(st.lists(BLOCKS, max_size=2)), draw(CONTENTS)
    order = draw(st.permutations(["messages", "system", "tools"]))
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(["goes on", "goes on", "edited", "shorter", "tool", "system", "again", "broken"]))
        if step == "goes on":
            messages = messages + draw(st.lists(MESSAGES, min_size=1, max_size=3))
        elif step == "edited" and messages:
            at = draw(st.integers(0, len(messages) - 1))
            messages = [*messages[:at], draw(MESSAGES), *messages[at + 1 :]]
        elif step == "shorter":
            messages = messages[: draw(st.integers(0, len(messages)))]
        elif step == "tool":
            tools = [*tools, draw(BLOCKS)]
        elif step == "system":
            system = draw(CONTENTS)
        parts: dict[str, object] = {"messages": messages, "system": system, "tools": tools}
        document: dict[str, object] = {"model": "m", **{name: parts[name] for name in order}, "stream": True}
        body = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
        if step == "again" and made:
            body = draw(st.sampled_from(made))
        elif step == "broken":
            at = draw(st.integers(0, len(body) - 1))
            body = body[:at] + draw(st.sampled_from([b"", b"}", b"]", b",", b'"', b"x"])) + body[at + 1 :]
        made.append(body)
    return made
