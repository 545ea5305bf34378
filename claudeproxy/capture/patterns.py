"""What a secret in a body looks like: a rule is a marker, literal text, and a bounded expression for what follows it.

Apart from `known`, the built-in table, and from `finder`, which searches. The form is narrower than a regular
expression on purpose: markers are found quickly, and because no rule reaches farther than `most` bytes, a body can be
searched while it streams, with that much held back at most.

Nothing here reads a file: `claudeproxy.detecting` does.
"""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIELDS: Final = {
    "id": "name of the rule, unique: letters, digits, `.`, `-` and `_`; `claudeproxy secrets` and the mask show it",
    "starts_with": "the marker: literal text (or a list of such) that stands at the beginning of the secret, in this "
    "case; 3 characters or more",
    "matches": "a regular expression (Python's) for what follows the marker; its repetitions must end "
    "(`{20,200}`, not `+`). A group `(?P<secret>...)` says which part is the secret; else marker and all are",
    "example": "text in which the rule must find a secret",
    "counter_example": "text that looks alike and in which it must find none",
    "note": "why the rule is there; for people",
}
_REQUIRED = ("id", "starts_with", "matches", "example", "counter_example")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")
MIN_MARKER: Final = 3
MAX_LENGTH: Final = 4096
"""Bytes that a rule of a user's may reach: as much is held back while a body streams."""


class SecretRuleError(ValueError):
    """What is wrong with one rule, and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRule:
    """One kind of secret. `rest` is matched behind a marker, within `most` bytes from the marker's first."""

    id: str
    markers: tuple[bytes, ...]
    rest: re.Pattern[bytes]
    most: int
    example: str = field(repr=False)
    counter_example: str = field(repr=False)
    note: str = ""

    def find(self, data: bytes, start: int, marker: bytes) -> tuple[int, int] | None:
        """Return the span of the secret whose marker stands at `start`, None when what follows is something else."""
        match = self.rest.match(data, start + len(marker), start + self.most)
        if match is None:
            return None
        return match.span("secret") if "secret" in self.rest.groupindex else (start, match.end())


def rule_of(row: object, *, runs_away: Callable[[re.Pattern[str]], bool] = lambda _: False) -> SecretRule:
    """Make a rule of what a user wrote.

    :param runs_away: tells whether an expression may take forever.
    :raises SecretRuleError: it cannot be used. The examples are looked at by `finder.check`.
    """
    if not isinstance(row, dict):
        raise SecretRuleError("a rule is a mapping of fields: id, starts_with, matches, example, counter_example")
    for key in row:
        if key not in FIELDS:
            near = difflib.get_close_matches(str(key), FIELDS, n=1)
            meant = f"did you mean `{near[0]}`?" if near else f"one of {', '.join(FIELDS)}"
            raise SecretRuleError(f"unknown field `{key}`: {meant}")
    missing = [key for key in _REQUIRED if row.get(key) in (None, "", [])]
    if missing:
        raise SecretRuleError(f"`{missing[0]}` is missing: {FIELDS[missing[0]]}")
    name, words = _text(row, "id"), _text(row, "matches")
    if not _ID.match(name):
        raise SecretRuleError(f"`id: {name}` is no name: use up to 40 letters, digits, `.`, `-` and `_`")
    given = row["starts_with"]
    markers = [given] if isinstance(given, str) else given
    if not isinstance(markers, list) or not all(isinstance(one, str) for one in markers):
        raise SecretRuleError("`starts_with` must be text, or a list of texts: put them into quotes")
    if any(len(one) < MIN_MARKER or not one.isascii() for one in markers):
        raise SecretRuleError(f"`starts_with` must have {MIN_MARKER} ASCII characters or more: it is what is searched")
    rest, longest = _compiled(words, runs_away)
    return SecretRule(
        id=name,
        markers=tuple(one.encode() for one in markers),
        rest=rest,
        most=longest + max(map(len, markers)) + 1,  # one more, for what an expression says of the byte behind
        example=_text(row, "example"),
        counter_example=_text(row, "counter_example"),
        note=_text(row, "note", ""),
    )


def _compiled(words: str, runs_away: Callable[[re.Pattern[str]], bool]) -> tuple[re.Pattern[bytes], int]:
    """The expression over bytes, and how many of them it may match at most."""
    try:
        text, rest = re.compile(words), re.compile(words.encode())
    except (re.error, RecursionError, OverflowError) as error:
        raise SecretRuleError(f"`matches` is not a regular expression: {error}") from None
    parser = importlib.import_module("re._parser")  # its name since Python 3.11; there is no public one
    longest = int(parser.parse(words.encode(), rest.flags).getwidth()[1])
    if longest > MAX_LENGTH:
        raise SecretRuleError(
            f"`matches` may go on for more than {MAX_LENGTH} bytes: write repetitions with an end, such as {{20,200}}"
        )
    if runs_away(text):
        raise SecretRuleError(
            "`matches` repeats a repetition, which can take forever on the wrong text: "
            "make the inner one possessive (`++` for `+`, `{8,20}+` for `{8,20}`)"
        )
    if rest.match(b"") is not None:
        raise SecretRuleError("`matches` matches nothing at all, and so every marker: say what follows it")
    return rest, longest


def _text(row: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise SecretRuleError(f"`{key}` must be text: put it into quotes")
    return value
