"""The rules in force: the built-in table, and before it what users wrote in files and packages.

Apart because it joins two packages that must not know each other: `evidence` reads files, `attribution` judges rules.
The recorder and the command line ask here, so that `rules list` shows what the recorder uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.userrules import RuleProblem, UserRules, extend
from claudeproxy.evidence.rulefiles import read_rule_documents
from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.attribution.rules import RuleSet
    from claudeproxy.evidence.rulefiles import RuleDocument

log = get_logger("claudeproxy.ruleset")


def load_rules(paths: Sequence[Path], *, optional: Path | None = None) -> UserRules:
    """Return the rules of these files (`optional`: read when it is there), of installed packages, and our own.

    Never raises: what cannot be used is left out and stands in `problems`.
    """
    return join_rules(read_rule_documents(paths, optional=optional))


def usable_rules(paths: Iterable[str], *, optional: str | None = None) -> RuleSet:
    """Return the rules for the recorder: what cannot be used is logged, and stops nothing."""
    found = load_rules([Path(path) for path in paths], optional=Path(optional) if optional else None)
    for problem in found.problems:
        log.error("rules not used", problem=str(problem), remedy="claudeproxy rules test")
    return found.rules


def join_rules(documents: Iterable[RuleDocument]) -> UserRules:
    """Return our own rules with those of the documents before them."""
    documents = list(documents)
    unread = [RuleProblem(origin=one.origin, rule=None, message=one.problem) for one in documents if one.problem]
    found = extend(DEFAULT, [(one.origin, one.content) for one in documents if not one.problem])
    return UserRules(rules=found.rules, origins=found.origins, problems=(*unread, *found.problems))
