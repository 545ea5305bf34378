"""Layout A's context block: what is memory in it, and what the client put behind the memory."""

from __future__ import annotations

from tests.attribution.bodies import DATE, analyze, body, labels, owners, reminder, text, tool, user


def test_a_context_block_with_all_sections():
    """Memory, then sections of the client's, then its closing line; a quoted section stays memory."""
    words = (
        "As you answer the user's questions, you can use the following context:\n# claudeMd\n"
        "Codebase and user instructions are shown below.\n\n"
        "Contents of /p/CLAUDE.md (project instructions, checked into the codebase):\n\nmine\n"
        f"# currentDate\n{DATE} quoted\n\nmore-of-mine\n# gitStatus\nThis is the git status of planted-git\n"
        f"# currentDate\n{DATE}\n\n      IMPORTANT: this context may or may not be relevant to your tasks. planted-end"
    )
    found = analyze(body(user(reminder(words), text("go")), tools=[tool("Read")]))
    assert labels(found, "more-of-mine") == {"Memory: /p/CLAUDE.md"}
    assert labels(found, "planted-git") == {"Framework: git status"}
    assert labels(found, "planted-end") == {"Framework: context"}
    assert labels(found, "Codebase and user") == {"Framework: memory preamble"}
    assert ("Framework: date", "text") in owners(found, DATE)


def test_memory_may_imitate_whatever_follows_it():
    """A section with memory behind it, and a closing line that does not close, are quotations."""
    words = (
        "As you answer the user's questions, you can use the following context:\n# claudeMd\n"
        "Codebase and user instructions are shown below.\n\n"
        "Contents of /p/CLAUDE.md (project instructions, checked into the codebase):\n\nmine\n\n"
        "      IMPORTANT: this context may or may not be relevant to your tasks.\n\nquoted-closing\n\n"
        "# userEmail\nThe user's email address is quoted-address\n\nmore-of-mine\n\n"
        "Contents of /p/CLAUDE.local.md (user's private project instructions, not checked in):\n\nlocal-words\n"
    )
    tail = f"# currentDate\n{DATE}\n\n      IMPORTANT: this context may or may not be relevant. planted-end"
    for end in (tail, f"# currentDate\n{DATE}"):
        found = analyze(body(user(reminder(words + end), text("go")), tools=[tool("Read")]))
        for mine in ("quoted-closing", "quoted-address", "more-of-mine"):
            assert labels(found, mine) == {"Memory: /p/CLAUDE.md"}
        assert labels(found, "local-words") == {"Memory: /p/CLAUDE.local.md"}
        assert labels(found, DATE) == {"Framework: date"}
