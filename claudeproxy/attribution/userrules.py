"""Makes rules of what users write: checks every field, says what is wrong with which rule and how to mend it.

Apart from reading files (`evidence.rulefiles`) and from applying rules. A document is used whole or not at all: half a
set of rules would attribute in a way that nobody wrote down.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Final, TypeAlias

from claudeproxy.attribution.containers import DIVIDERS
from claudeproxy.attribution.regexes import may_run_away
from claudeproxy.attribution.rules import Rule, RuleSet, Scope
from claudeproxy.model import SourceType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row: TypeAlias = "Mapping[str, object]"

FIELDS: Final = {
    "id": "name of the rule, unique: letters, digits, `.`, `-` and `_`; segments and `rules list` show it",
    "applies_to": "`text` (default): what the client injects into the conversation; `system`: paragraphs of the system "
    "prompt; `tools`: names of tools; `names`: labels of sources, to rename them",
    "starts_with": "the marker: literal text at the beginning of the item (for `tools` and `names`: the whole name)",
    "matches": "instead of starts_with: a regular expression (Python's) from the beginning of the item; named groups "
    "`(?P<who>...)` can be used in source, plugin and via. For `tools` and `names` it must fit the whole name",
    "source": "whose it is, as labels are written: `MCP: context7`, `Skill: {name}`, `Hook: lint`, `User`",
    "plugin": "the plugin that brought it",
    "via": "the aggregating server through which it came",
    "kind": "what it is: `text` by default, `instructions` for `system`; the client's own kinds stay for `tools` and "
    "`names`",
    "extent": "`paragraph` (default): up to the next blank line; `item`: up to the next item that a rule knows",
    "rank": "`text` only: place in the order in which the client joins items, 0 to 11 (default 8, reminders)",
    "glued": "`text` only: `true` when old clients append it to tool results",
    "layouts": "the wire layouts in which it was seen, a part of `ABC` (default all); for people",
    "confidence": "0 to 1 (default 1)",
    "example": "text that the rule must match",
    "counter_example": "text that looks alike and that it must leave alone",
    "note": "why the rule is there; for people",
}
_REQUIRED = ("id", "source", "example", "counter_example")
_TEXT_ONLY = ("rank", "glued")
_TYPES = {str(kind).lower(): kind for kind in SourceType} | {"mcp": SourceType.MCP_SERVER}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\Z")
_GLOBAL_FLAGS = re.compile(r"\(\?[aimsux]+\)")
_REST_OF_PARAGRAPH = r"[^\n]*+(?:\n(?!\n)[^\n]++)*+"
_KINDS = {Scope.TEXT: "text", Scope.SYSTEM: "instructions", Scope.TOOLS: "", Scope.NAMES: ""}  # "": as it is
MAX_RANK = 11
MIN_MARKER = 3  # characters: shorter ones begin every other paragraph


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleProblem:
    """Why a document of rules is not used."""

    origin: str  # the file, or the entry point
    rule: str | None
    message: str  # what is wrong and how to mend it

    def __str__(self) -> str:
        return f"{self.origin}: {f'rule {self.rule}: ' if self.rule else ''}{self.message}"


class _RuleError(ValueError):
    """What is wrong with one rule."""


def read_rules(origin: str, content: object, *, taken: Iterable[str] = ()) -> tuple[list[Rule], list[RuleProblem]]:
    """Return the rules of one document and everything that is wrong with it.

    :param content: a mapping with the list `rules`, or such a list; its rows are mappings, or `Rule` values.
    :param taken: ids that rules elsewhere have.
    """
    rows = content.get("rules", content) if isinstance(content, dict) else content
    if rows is None:  # an empty file, or one in which everything is commented out
        return [], []
    if not isinstance(rows, list | tuple):
        message = "write a list under the key `rules:`, one entry a rule"
        return [], [RuleProblem(origin=origin, rule=None, message=message)]
    problems: list[RuleProblem] = []
    rules: list[Rule] = []
    ids = set(taken)
    for number, row in enumerate(rows, 1):
        try:
            rule = row if isinstance(row, Rule) else _rule(row)
            _check(rule, ids, rules)
        except _RuleError as error:
            problems.append(RuleProblem(origin=origin, rule=_name_of(row, number), message=str(error)))
            continue
        ids.add(rule.id)
        rules.append(rule)
    return rules, problems


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRules:
    """The rules that are in force: the given set, before it what users wrote."""

    rules: RuleSet
    origins: Mapping[str, str]  # id of a user's rule -> where it is written
    problems: tuple[RuleProblem, ...]


def extend(base: RuleSet, documents: Iterable[tuple[str, object]]) -> UserRules:
    """Return `base` with the rules of (origin, content) documents before it, in their order; never raises.

    A document with a problem is left out whole.
    """
    added: list[Rule] = []
    origins: dict[str, str] = {}
    problems: list[RuleProblem] = []
    for origin, content in documents:
        rules, wrong = read_rules(origin, content, taken=[rule.id for rule in (*base, *added)])
        problems += wrong
        if not wrong:
            added += rules
            origins |= {rule.id: origin for rule in rules}
    return UserRules(rules=base.extended(*added) if added else base, origins=origins, problems=tuple(problems))


def _name_of(row: object, number: int) -> str:
    name = row.id if isinstance(row, Rule) else row.get("id") if isinstance(row, dict) else None
    return str(name) if name else f"number {number}"


def _rule(row: object) -> Rule:
    if not isinstance(row, dict):
        raise _RuleError("a rule is a mapping of fields: id, starts_with or matches, source, example, counter_example")
    for key in row:
        if key not in FIELDS:
            near = difflib.get_close_matches(str(key), FIELDS, n=1)
            meant = f"did you mean `{near[0]}`?" if near else f"one of {', '.join(FIELDS)}"
            raise _RuleError(f"unknown field `{key}`: {meant}")
    missing = [key for key in _REQUIRED if row.get(key) in (None, "")]
    if missing:
        raise _RuleError(f"`{missing[0]}` is missing: {FIELDS[missing[0]]}")
    scope = Scope(_choice(row, "applies_to", [str(one) for one in Scope], "text"))
    given = [key for key in _TEXT_ONLY if key in row and scope is not Scope.TEXT]
    given += [key for key in ("kind", "extent") if key in row and scope in {Scope.TOOLS, Scope.NAMES}]
    if given:
        raise _RuleError(f"`{given[0]}` has no meaning for `applies_to: {scope}`: leave it out")
    closed = _choice(row, "extent", ["paragraph", "item"], "paragraph") == "paragraph"
    kind, name = _source(row)
    return Rule(
        id=_text(row, "id"),
        pattern=_pattern(row, closed=closed and scope in {Scope.TEXT, Scope.SYSTEM}),
        type=kind,
        name=name,
        plugin=_text(row, "plugin", ""),
        via=_text(row, "via", ""),
        kind=_text(row, "kind", _KINDS[scope]),
        scope=scope,
        rank=int(_number(row, "rank", 8, most=MAX_RANK)),
        closed=closed,
        repeats=True,
        glued=row.get("glued") is True,
        layouts=_text(row, "layouts", "ABC"),
        confidence=_number(row, "confidence", 1.0, most=1),
        example=_text(row, "example"),
        counter_example=_text(row, "counter_example"),
    )


def _pattern(row: Row, *, closed: bool) -> re.Pattern[str]:
    if ("starts_with" in row) == ("matches" in row):
        raise _RuleError("give either `starts_with` (literal text) or `matches` (a regular expression)")
    if "starts_with" in row:
        marker = _text(row, "starts_with")
        if len(marker.strip()) < MIN_MARKER:
            raise _RuleError(f"`starts_with` is too short to tell anything: write {MIN_MARKER} characters or more")
        words = re.escape(marker)
    else:
        words = _text(row, "matches")
    try:
        pattern = re.compile(words)
    except (re.error, RecursionError, OverflowError) as error:
        raise _RuleError(f"`matches` is not a regular expression: {error}. Use starts_with for literal text") from None
    if not closed:
        return pattern
    inner = _GLOBAL_FLAGS.sub("", words, count=1) if _GLOBAL_FLAGS.match(words) else words
    inner += "\n" if pattern.flags & re.VERBOSE else ""  # a comment at its end must not take our parenthesis
    return re.compile(f"(?:{inner}){_REST_OF_PARAGRAPH}", pattern.flags)


def _source(row: Row) -> tuple[SourceType, str]:
    label = _text(row, "source")
    kind, _, name = label.partition(":")
    found = _TYPES.get(kind.strip().lower())
    if found is None:
        near = difflib.get_close_matches(kind.strip().lower(), _TYPES, n=1)
        meant = f"did you mean `{_TYPES[near[0]]}`?" if near else f"one of {', '.join(map(str, SourceType))}"
        raise _RuleError(f"`source: {label}` begins with no type of source: {meant}")
    if found is SourceType.OVERHEAD:
        raise _RuleError("`source: Overhead` is for structure: name what the text is")
    if not name.strip() and found is not SourceType.USER:
        raise _RuleError(f"`source: {label}` has no name: write `{kind.strip()}: NAME`")
    return found, name.strip()


def _check(rule: Rule, taken: set[str], earlier: Iterable[Rule]) -> None:
    """Raise _RuleError when the rule cannot be used: also one that was made in Python."""
    if not _ID.match(rule.id):
        raise _RuleError(f"`id: {rule.id}` is no name: use letters, digits, `.`, `-` and `_`")
    if rule.id in taken:
        raise _RuleError("another rule has this id: choose another")
    if not rule.layouts or set(rule.layouts) - set("ABC"):
        raise _RuleError(f"`layouts: {rule.layouts}` names no layout: write a part of `ABC`")
    if rule.divide is not None and rule.divide not in DIVIDERS:
        raise _RuleError(f"`divide: {rule.divide}` is no divider: one of {', '.join(DIVIDERS)}")
    if may_run_away(rule.pattern):
        raise _RuleError(
            "`matches` repeats a repetition, which can take forever on the wrong text: "
            "make the inner one possessive (`++` for `+`, `*+` for `*`)"
        )
    if rule.pattern.match("") is not None:
        raise _RuleError("`matches` matches nothing at all, and so everything: begin it with a marker")
    for field, template in (("source", rule.name), ("plugin", rule.plugin), ("via", rule.via)):
        _check_template(field, template, rule.pattern)
    match = rule.matches(rule.example)
    if match is None:
        raise _RuleError("the example does not match: mend one of the two")
    if rule.scope is Scope.TEXT and rule.closed and match.end() < len(rule.example):
        raise _RuleError("the example goes on after a blank line, where a paragraph ends: write `extent: item`")
    if rule.matches(rule.counter_example) is not None:
        raise _RuleError("the counter-example matches: make the pattern narrower")
    for other in earlier:
        if other.scope is rule.scope and other.matches(rule.example) is not None:
            raise _RuleError(f"rule {other.id} stands before it and takes its example: put the narrower rule first")


def _check_template(field: str, template: str, pattern: re.Pattern[str]) -> None:
    try:
        names = [
            (name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        raise _RuleError(f"`{field}: {template}`: {error}. Braces stand around the name of a group") from None
    for name, spec, conversion in names:
        if name not in pattern.groupindex or spec or conversion:
            known = ", ".join(f"{{{group}}}" for group in pattern.groupindex) or "the pattern has no named group"
            raise _RuleError(f"`{field}` names {{{name}}}, which is no group of `matches`: {known}")


def _text(row: Row, key: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise _RuleError(f"`{key}` must be text: put it into quotes")
    return value


def _number(row: Row, key: str, default: float, *, most: float) -> float:
    value = row.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _RuleError(f"`{key}` must be a number from 0 to {most}")
    return value


def _choice(row: Row, key: str, allowed: list[str], default: str) -> str:
    value = row.get(key, default)
    if value not in allowed:
        raise _RuleError(f"`{key}: {value}` is unknown: write {' or '.join(allowed)}")
    return str(value)
