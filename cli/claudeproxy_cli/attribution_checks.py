"""The checks of ``claudeproxy doctor`` that look at attribution: the person's own rules, and what no rule explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudeproxy_cli.findings import Check, Status
from claudeproxy_cli.options import program

if TYPE_CHECKING:
    from claudeproxy_cli.findings import Context

# Of the framework's tokens. The built-in rules leave nothing of the versions they were made with; new reminders of a
# new version are a few hundred tokens of some ten thousand.
UNCLASSIFIED_LIMIT: Final = 0.02


def rules(context: Context) -> Check:
    """Ask whether the person's own rules are used."""
    from claudeproxy.ruleset import load_rules

    found = load_rules(context.config.rules_files, optional=context.home.rules_file)
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        return Check(
            name="rules",
            status=Status.FAIL,
            detail=f"{found.problems[0]}{more}",
            remedy=f"mend it and look with `{program()} rules test`; until then that file is left out, whole",
        )
    detail = f"{len(tuple(found.rules)) - len(found.origins)} built in"
    if found.origins:
        detail = f"{len(found.origins)} of yours, {detail}"
    return Check(name="rules", status=Status.OK, detail=detail)


def unclassified(context: Context) -> Check:
    """Ask how much of what clients wrote no rule explained, by client version."""
    from claudeproxy.store.shares import framework_shares

    shares = framework_shares(context.home.database) if context.home.database.exists() else []
    if not shares:
        return Check(name="unclassified", status=Status.OK, detail="no explained captures yet")
    parts = [f"{one.client or '?'} {one.client_version}: {one.share:.1%}" for one in shares[:4]]
    detail = f"of the framework's tokens no rule explains {', '.join(parts)}"
    if max(one.share for one in shares) <= UNCLASSIFIED_LIMIT:
        return Check(name="unclassified", status=Status.OK, detail=detail)
    remedy = (
        f"`{program()} query --source 'Framework: unclassified'` finds the requests, "
        f"`{program()} rules test --request ID` the texts; update claudeproxy, or write a rule"
    )
    return Check(name="unclassified", status=Status.WARN, detail=detail, remedy=remedy)
