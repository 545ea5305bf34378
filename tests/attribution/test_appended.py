"""Text appended to an old client's prompt behind a container: where it begins, by what other requests showed."""

from __future__ import annotations

import pytest

from claudeproxy.model import Source, SourceType, WholeText, server_owner, text_owner
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    IDENTITY,
    KNOWN,
    VERSION,
    Told,
    body,
    check_partition,
    engine,
    holders,
    labels,
    owners,
    reminder,
    text,
    tool,
    user,
)

TOOLS = [tool("Read"), tool("mcp__docs__find"), tool("mcp__wiki__ask")]
SERVERS = (
    "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their tools:"
)
DOCS = "## docs\nby-docs-1\n\n## When to use\n\nby-docs-2"
WIKI = "## wiki\nby-wiki-1\n\nby-wiki-2"
APPENDED = "by-user-1\n\n# Environment\n\nby-user-2\n\nby-user-3"
GIT = "gitStatus: This is the git status at the start of the conversation.\nMain"
STYLE = "# Output Style: Curt\nby-style-1\n\nby-style-2"


def prompt(*paragraphs: str, appended: str = "", servers: tuple[str, ...] = ()) -> bytes:
    parts = [KNOWN, *paragraphs, *([SERVERS, *servers] if servers else [])]
    last = f"{appended}\n{GIT}" if appended else GIT
    blocks = [text(BILLING), text(IDENTITY), text("\n\n".join([*parts, last]))]
    return body(user(reminder("Today's date is 2026-11-22."), text("go")), system=blocks, tools=TOOLS)


def analyze(request: bytes, evidence: Told | None = None):
    found = engine().analyze_request(request, headers=CLAUDE, evidence=evidence)
    check_partition(request, found)
    return found


def seen(*requests: bytes) -> Told:
    """What a proxy knows that has seen these requests."""
    return Told([one for request in requests for block in analyze(request).blocks for one in block.whole])


def expect(found, **whose: str) -> None:
    for words, label in whose.items():
        name = words.replace("_", "-")
        assert {f"{name}-{n}": labels(found, f"{name}-{n}") for n in (1, 2)} == {f"{name}-{n}": {label} for n in (1, 2)}


def test_instructions_that_stood_alone_tell_where_they_end():
    """Every paragraph goes to whose it is, though the user's imitate headings."""
    found = analyze(prompt(servers=(DOCS, WIKI), appended=APPENDED), seen(prompt(servers=(DOCS, WIKI))))
    expect(found, by_docs="MCP: docs", by_wiki="MCP: wiki", by_user="User")
    assert {(one.rule, one.confidence) for one in holders(found, "by-user")} == {("system.appended-known", 0.95)}
    assert "Framework: unclassified" not in {segment.source.label for segment in found.segments()}


def test_servers_may_have_stood_in_different_requests():
    """Each server's text is known by itself, wherever it stood; another order or more servers do not matter."""
    known = seen(prompt(servers=(WIKI,)), prompt(servers=(DOCS,)))
    expect(analyze(prompt(servers=(DOCS, WIKI), appended=APPENDED), known), by_wiki="MCP: wiki", by_user="User")


def test_appended_text_that_names_a_server_is_still_the_users():
    """The headings alone would be believed; what is known of the servers' texts goes before them."""
    appended = f"{APPENDED}\n\n## wiki\nby-user-1 again\n\n## docs\nby-user-2 again"
    found = analyze(prompt(servers=(DOCS, WIKI), appended=appended), seen(prompt(servers=(DOCS, WIKI))))
    expect(found, by_docs="MCP: docs", by_wiki="MCP: wiki", by_user="User")


def test_an_output_style_that_stood_alone_tells_where_it_ends():
    found = analyze(prompt(STYLE, appended=APPENDED), seen(prompt(STYLE)))
    expect(found, by_style="Framework: output style", by_user="User")


def test_appended_text_that_stood_alone_tells_where_it_begins():
    """Behind a paragraph of the client's own."""
    known = seen(prompt(appended=APPENDED))
    assert [one.owner for one in known.texts] == [text_owner(Source(type=SourceType.USER))]
    found = analyze(prompt(servers=(DOCS, WIKI), appended=APPENDED), known)
    expect(found, by_docs="MCP: docs", by_wiki="MCP: wiki", by_user="User")
    assert {one.confidence for one in holders(found, "by-user")} == {0.8}  # more may have been appended this time


def test_two_texts_that_meet_leave_no_doubt():
    known = seen(prompt(appended=APPENDED), prompt(servers=(DOCS, WIKI)))
    found = analyze(prompt(servers=(DOCS, WIKI), appended=APPENDED), known)
    assert {one.confidence for one in holders(found, "by-user")} == {1.0}


@pytest.mark.parametrize(
    "known",
    [
        Told([]),
        seen(prompt(servers=("## wiki\nanother text\n\nof it",))),  # it has changed since
        seen(prompt(servers=("## wiki\nby-wi",))),  # the beginning of a line
        seen(prompt(servers=(DOCS,))),
        seen(prompt(appended="by-user-3 and more")),
        seen(prompt(appended=f"by-user-0\n\n{KNOWN}\n\nby-user-2\n\nby-user-3")),  # in pieces: where it began is open
        seen(prompt("Between.", STYLE, appended="by-user-3")),
        Told([WholeText.of(text_owner(Source(type=SourceType.MCP_SERVER, name="docs")), WIKI)]),  # somebody else's
    ],
)
def test_what_others_do_not_tell_stays_undecided(known):
    """And says so: by its rule, and by what the block asks for."""
    found = analyze(prompt(servers=(DOCS, WIKI), appended=APPENDED), known)
    expect(found, by_docs="MCP: docs")
    assert owners(found, "by-wiki-2") == {("Framework: unclassified", "instructions")}
    (segment,) = holders(found, "by-wiki-2")
    assert (segment.rule, segment.confidence) == ("system.undecided", 0.5)
    wiki, docs = (text_owner(Source(type=SourceType.MCP_SERVER, name=name)) for name in ("wiki", "docs"))
    assert {wiki, docs, text_owner(Source(type=SourceType.USER))} <= set(found.blocks[len(TOOLS) + 2].undecided)


def test_an_undecided_prompt_tells_no_text_itself():
    """Its container may hold the user's words; a server that is certain is named in it nevertheless."""
    told = seen(prompt(servers=(DOCS, WIKI), appended=APPENDED)).texts
    assert told == [WholeText.of(server_owner("docs"), "docs")]


def test_known_text_without_anything_behind_it_changes_nothing():
    """The flag of a line break was the container's own."""
    whole = prompt(servers=(DOCS, f"{WIKI}\n\nlast"), appended="")
    request = whole.replace(f"last\\n\\n{GIT[:20]}".encode(), f"last\\n{GIT[:20]}".encode())
    assert request != whole
    found = analyze(request, seen(whole))
    assert labels(found, "by-wiki-1") == {"MCP: wiki"}


def test_the_version_of_the_prompt_is_the_one_that_is_known():
    """The texts above stand in a prompt of a version with fingerprints: otherwise nothing appended is the user's."""
    unknown = prompt(servers=(DOCS, WIKI), appended=APPENDED).replace(VERSION.encode(), b"9.9.999")
    found = analyze(unknown, seen(prompt(servers=(DOCS, WIKI))))
    expect(found, by_wiki="MCP: wiki", by_user="Framework: unclassified")
