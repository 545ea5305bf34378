"""``claudeproxy rules``: what decides whose text is whose, and whether your own rules do what you think."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    load_config,
    output_format,
    reader_home,
)
from claudeproxy_cli.render import Column, emit, is_terminal, note, number, write_json

if TYPE_CHECKING:
    from claudeproxy.attribution.rules import Rule, RuleSet
    from claudeproxy.attribution.userrules import UserRules

app = typer.Typer(
    help="The attribution rules, and your own.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)

BUILT_IN: Final = "built in"
LIST_COLUMNS: Final = (
    Column(key="id", title="rule"),
    Column(key="layouts", title="layouts"),
    Column(key="applies_to", title="on", optional=True),
    Column(key="source", title="source", flexible=True),
    Column(key="kind", title="kind"),
    Column(key="origin", title="from", flexible=True, optional=True),
    Column(key="pattern", title="matches", flexible=True),
)
TEST_COLUMNS: Final = (
    Column(key="result", title="result"),
    Column(key="rule", title="rule"),
    Column(key="detail", title=""),
)
CLAIM_COLUMNS: Final = (
    Column(key="json_path", title="where", flexible=True),
    Column(key="characters", title="chars", text=number, align="right"),
    Column(key="label", title="source", flexible=True),
    Column(key="kind", title="kind"),
    Column(key="rule", title="rule"),
    Column(key="text", title="begins", flexible=True, optional=True),
)


@app.callback()
def _root() -> None:
    """The attribution rules, and your own.

    The first that matches wins; yours are tried before the built-in ones.
    """


@app.command("list", epilog="Example: claudeproxy rules list --json")
def list_command(
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """List the rules in the order in which they are tried; yours come first."""
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    found = configured_rules(home, config)
    rows = [rule_row(rule, found.origins.get(rule.id, BUILT_IN)) for rule in found.rules]
    emit(rows, LIST_COLUMNS, output)
    for problem in found.problems:
        note(f"not used: {problem}")


@app.command("test", epilog="Example: claudeproxy rules test my-rules.yaml --request 3f2a91c0")
def check_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Your rules; without it, those of the configuration.")
    ] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Show which rule claims what in this captured request.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Show it for a request body in a file (- for standard input).")
    ] = None,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a file of rules, or show what its rules do to a request.

    Each example must match and each counter-example must not. Exits with 1 and says why when something is wrong.
    """
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    if request is not None and body is not None:
        raise typer.BadParameter("give one of --request and --body")
    found = configured_rules(home, config) if file is None else _rules_of(file)
    if request is None and body is None:
        results = test_rows(found)
        emit(results, TEST_COLUMNS, output)
        if not results:
            note("there are no rules of your own: docs/howto/write-a-rule.md says how to write one")
    else:
        raw, headers = _from_capture(request, home, config) if request is not None else (_from_file(body), ())
        document, rows = claims(found.rules, raw, headers)
        write_json(document) if output is Format.JSON else emit(rows, CLAIM_COLUMNS, output)
        for problem in found.problems:
            note(f"not used: {problem}")
    if found.problems:
        raise typer.Exit(1)


def configured_rules(home: Path | None, config: Path | None) -> UserRules:
    """The rules that the recorder uses with this configuration."""
    from claudeproxy.ruleset import load_rules

    settings = load_config(home, config)
    return load_rules(settings.rules_files, optional=settings.paths.rules_file)


def rule_row(rule: Rule, origin: str) -> dict[str, object]:
    """One rule, as JSON can carry it."""
    return {
        "id": rule.id,
        "layouts": rule.layouts,
        "applies_to": str(rule.scope),
        "source": shown_source(rule),
        "source_type": str(rule.type),
        "plugin": rule.plugin or None,
        "via": rule.via or None,
        "kind": rule.kind,
        "pattern": rule.pattern.pattern,
        "divided": rule.divide,
        "confidence": rule.confidence,
        "origin": origin,
        "example": rule.example,
        "counter_example": rule.counter_example,
    }


def shown_source(rule: Rule) -> str:
    """The source as its label will read, groups in braces: ``MCP: {server}``."""
    from claudeproxy.model import Source

    return Source(type=rule.type, name=rule.name or None).label


def test_rows(found: UserRules) -> list[dict[str, object]]:
    """What came of each rule of the person's own: the wrong ones first."""
    rows: list[dict[str, object]] = [
        {"result": "fail", "rule": problem.rule or "-", "detail": problem.message, "origin": problem.origin}
        for problem in found.problems
    ]
    rows += [
        {
            "result": "ok",
            "rule": rule.id,
            "detail": f"{shown_source(rule)}: matches its example, leaves its counter-example alone",
            "origin": found.origins[rule.id],
        }
        for rule in found.rules
        if rule.id in found.origins
    ]
    return rows


def claims(
    rules: RuleSet, body: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """What each rule claims in a request body: a document for JSON, and its rows without the structure."""
    from claudeproxy.attribution.engine import AttributionEngine
    from claudeproxy.evidence.fingerprints import load_fingerprints

    result = AttributionEngine(rules=rules, fingerprints=load_fingerprints()).analyze_request(body, headers=headers)
    rows: list[dict[str, object]] = []
    placed = [(block.json_path, segment) for block in result.blocks for segment in block.segments]
    for place, segment in placed:
        if segment.kind == "structure":
            continue
        rows.append(
            {
                "json_path": place + segment.path,
                "start": segment.start,
                "end": segment.end,
                "characters": len(segment.text),
                "label": segment.source.label,
                "source_type": str(segment.source.type),
                "source_name": segment.source.name,
                "plugin": segment.source.plugin,
                "via": segment.source.via,
                "kind": segment.kind,
                "rule": segment.rule,
                "confidence": segment.confidence,
                "text": segment.text[:60],
            }
        )
    identity = result.identity
    return {"client": identity.client, "client_version": identity.client_version, "claims": rows}, rows


def _rules_of(file: Path) -> UserRules:
    from claudeproxy.evidence.rulefiles import read_rule_file
    from claudeproxy.ruleset import join_rules

    return join_rules([read_rule_file(file)])


def _from_capture(
    request: str | None, home: Path | None, config: Path | None
) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    from claudeproxy_cli.listing import open_captures

    storage = open_captures(reader_home(home, config))
    try:
        captured = storage.get_request(request or "")
        return captured.body, tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in captured.headers)
    finally:
        storage.close()


def _from_file(path: Path | None) -> bytes:
    import sys

    from claudeproxy.errors import NotFoundError

    assert path is not None
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror or error}") from error
