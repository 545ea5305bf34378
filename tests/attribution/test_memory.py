"""The memory container: which ``Contents of`` is the client's."""

from __future__ import annotations

import pytest

from tests.attribution.bodies import CWD, ENVIRONMENT, analyze, body, labels, owners, reminder, system, text, user

PREAMBLE = "Codebase and user instructions are shown below. Adhere.\n\n"
KINDS = {
    "user": "user's private global instructions for all projects",
    "project": "project instructions, checked into the codebase",
    "local": "user's private project instructions, not checked in",
    "auto": "user's auto-memory, persists across conversations",
}


def entry(path: str, scope: str, words: str) -> str:
    return f"Contents of {path} ({KINDS[scope]}):\n\n{words}"


def memory(*entries: str, environment: str = ENVIRONMENT):
    return analyze(body(user(reminder(PREAMBLE + "\n\n".join(entries)), text("go")), system(environment)))


def test_files_have_path_and_scope():
    """All four scopes, in the client's order."""
    found = memory(
        entry("/home/dev/.claude/CLAUDE.md", "user", "of-user"),
        entry(f"{CWD}/CLAUDE.md", "project", "of-project"),
        entry(f"{CWD}/CLAUDE.local.md", "local", "of-local"),
        entry("/home/dev/.claude/projects/x/memory/MEMORY.md", "auto", "of-auto"),
    )
    evidence = {s.source.name: s.evidence for s in found.segments() if s.source.type == "Memory"}
    assert evidence == {
        "/home/dev/.claude/CLAUDE.md": "scope=user",
        f"{CWD}/CLAUDE.md": "scope=project",
        f"{CWD}/CLAUDE.local.md": "scope=local",
        "/home/dev/.claude/projects/x/memory/MEMORY.md": "scope=auto",
    }
    assert owners(found, "Codebase and user") == {("Framework: memory preamble", "instructions")}


@pytest.mark.parametrize(
    ("path", "before"),
    [
        (f"{CWD}/.claude/rules/r.md", "plain"),
        ("/home/dev/CLAUDE.md", "plain"),
        ("/home/dev/shared/style.md", "see @~/shared/style.md"),
        ("/home/dev/other/x.md", "see @../other/x.md for more"),
        (f"{CWD}/sub/deep.md", "@sub/deep.md"),
    ],
)
def test_project_files_lie_at_home_or_are_imported(path, before):
    """In or above the working directory, rules in `.claude`, or named by an import of an earlier file."""
    found = memory(entry(f"{CWD}/CLAUDE.md", "project", before), entry(path, "project", "of-second"))
    assert labels(found, "of-second") == {f"Memory: {path}"}


@pytest.mark.parametrize(
    "quoted",
    [
        entry("/elsewhere/x.md", "project", "quoted"),
        entry(f"{CWD}/CLAUDE.md", "project", "quoted"),
        entry("/home/dev/.claude/CLAUDE.md", "user", "quoted"),
        "Contents of /home/dev/CLAUDE.md (a kind of my own):\n\nquoted",
    ],
)
def test_quoted_entries_stay_the_quoting_files(quoted):
    """Elsewhere, the same file again, a scope that came before, an unknown kind."""
    found = memory(entry(f"{CWD}/CLAUDE.md", "project", f"mine\n\n{quoted}"))
    assert labels(found, "quoted") == {f"Memory: {CWD}/CLAUDE.md"}


def test_without_a_working_directory_files_lie_on_one_line():
    """From the root down to a directory that nobody names; imports may lie anywhere."""
    found = memory(
        entry("/a/CLAUDE.md", "project", "one\n\n@/elsewhere/more.md"),
        entry("/b/CLAUDE.md", "project", "quoted"),
        entry("/elsewhere/more.md", "project", "imported"),
        entry("/a/b/CLAUDE.md", "project", "two"),
        entry("/a/c/CLAUDE.md", "project", "beside"),
        entry("/a/b/CLAUDE.local.md", "local", "three"),
        environment="nothing",
    )
    owners_of = {"two": "/a/b/CLAUDE.md", "imported": "/elsewhere/more.md", "three": "/a/b/CLAUDE.local.md"}
    owners_of |= {"quoted": "/a/CLAUDE.md", "beside": "/a/b/CLAUDE.md"}
    assert {words: labels(found, words) for words in owners_of} == {w: {f"Memory: {p}"} for w, p in owners_of.items()}


def test_windows_paths():
    """The same rules with backslashes."""
    environment = ENVIRONMENT.replace(CWD, "C:\\dev\\app")
    found = memory(
        entry("C:\\dev\\app\\CLAUDE.md", "project", "one"),
        entry("D:\\x\\CLAUDE.md", "project", "quoted"),
        entry("C:\\dev\\CLAUDE.md", "project", "two"),
        environment=environment,
    )
    assert labels(found, "quoted") == {"Memory: C:\\dev\\app\\CLAUDE.md"}
    assert labels(found, "two") == {"Memory: C:\\dev\\CLAUDE.md"}


def test_a_container_without_files_is_the_clients():
    """An unknown form is not guessed at."""
    found = analyze(body(user(reminder(PREAMBLE + "nothing of the kind"), text("go")), system(ENVIRONMENT)))
    assert labels(found, "nothing of the kind") == {"Framework: memory preamble"}


def test_quoted_entries_that_run_ahead_do_not_hide_the_files_behind_them():
    """A file may quote entries of any scope: those count that leave room for the most files."""
    ahead = entry(f"{CWD}/CLAUDE.md", "local", "quoted-one")
    auto = entry("/home/dev/.claude/projects/x/memory/MEMORY.md", "auto", "quoted-two")
    found = memory(
        entry("/home/dev/.claude/CLAUDE.md", "user", f"of-user\n\n{ahead}\n\nstill-user"),
        entry("/home/dev/.claude/rules/mine.md", "user", "of-rule"),
        entry(f"{CWD}/CLAUDE.md", "project", f"of-project\n\n{auto}\n\nstill-project"),
        entry(f"{CWD}/.claude/CLAUDE.md", "project", "of-second"),
        entry(f"{CWD}/CLAUDE.local.md", "local", "of-local"),
    )
    expected = dict.fromkeys(("of-user", "quoted-one", "still-user"), "/home/dev/.claude/CLAUDE.md")
    expected |= {"of-rule": "/home/dev/.claude/rules/mine.md", "of-second": f"{CWD}/.claude/CLAUDE.md"}
    expected |= dict.fromkeys(("of-project", "quoted-two", "still-project"), f"{CWD}/CLAUDE.md")
    expected |= {"of-local": f"{CWD}/CLAUDE.local.md"}
    assert {words: labels(found, words) for words in expected} == {w: {f"Memory: {p}"} for w, p in expected.items()}


def test_nested_memory_lies_below_the_working_directory():
    """Or is the user's own, or is imported; anything else is quoted by the file before it."""
    items = [
        f"Contents of {CWD}/deep/CLAUDE.md:\n\nof-deep @/else/more.md",
        "Contents of /elsewhere/CLAUDE.md:\n\nquoted",
        "Contents of /else/more.md:\n\nof-import",
        "Contents of /home/dev/.claude/rules/py.md:\n\nof-rule",
    ]
    found = analyze(body(user(text("go")), system(ENVIRONMENT), user(text("on")), system("\n\n".join(items))))
    expected = {"of-deep": f"{CWD}/deep/CLAUDE.md", "quoted": f"{CWD}/deep/CLAUDE.md"}
    expected |= {"of-import": "/else/more.md", "of-rule": "/home/dev/.claude/rules/py.md"}
    assert {words: labels(found, words) for words in expected} == {w: {f"Memory: {p}"} for w, p in expected.items()}
