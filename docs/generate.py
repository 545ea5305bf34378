"""Writes the pages that are made from the code: run it after a change, or the tests say that a page is stale.

uv run python docs/generate.py
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import typer
from pydantic_core import PydanticUndefined

from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.userrules import FIELDS
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.model import Source
from claudeproxy_cli.main import COMMANDS

DOCS = Path(__file__).resolve().parent


def configuration() -> str:
    """docs/reference/configuration.md: every key with its type, default, variable and reason."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by docs/generate.py from claudeproxy/config/keys.py and limits.py. -->",
        "",
        "`~/.claude-proxy/config.yaml` (or `--config FILE`, `CLAUDEPROXY_CONFIG`) is overridden by `CLAUDEPROXY_<KEY>` in",
        "the environment, which is overridden by flags. Keys stand at the top of the file or under `claude_proxy:`. An",
        "unknown key is an error that names the nearest known one. `claudeproxy config show` prints the effective values",
        "and where each came from; [the example file](../../examples/claude-proxy-config.yaml) explains every key in place.",
        "Sizes take units (`64MiB`, `2GB`), lists in a variable are separated by commas.",
        "",
        "| key | default | meaning and reason |",
        "|---|---|---|",
    ]
    for name, field in ClaudeProxyConfig.model_fields.items():
        if name == "home":
            default = "`~/.claude-proxy`"
        elif name in ("ca_cert_path", "ca_key_path"):
            default = f"`ca.{'crt' if 'cert' in name else 'key'}` in home"
        else:
            default = f"`{_shown(field.default)}`"
        description = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {default} | {description} |")
    return "\n".join(lines) + "\n"


def rules() -> str:
    """docs/reference/rules.md: how a rule is written, and the built-in table."""
    lines = [
        "# Attribution rules",
        "",
        "<!-- Made by docs/generate.py from claudeproxy/attribution/userrules.py and claudeproxy/attribution/rulebook.py. -->",
        "",
        "A rule says whose a piece of context is. Rules are tried in order, yours before the built-in ones, and the first",
        "that matches wins. `claudeproxy rules list` shows all of them with what they match, `claudeproxy rules test` checks",
        "yours; [how to write a rule](../howto/write-a-rule.md) has examples.",
        "",
        "## Fields of a rule",
        "",
        "Rules stand as a list under `rules:` in `~/.claude-proxy/rules.yaml`, in the files that the key `rules_files` names",
        "([configuration](configuration.md)), or in an installed package (entry point group `claudeproxy.rules`). A file is",
        "used whole or not at all: a mistake leaves it out, `claudeproxy doctor` names file, rule and remedy, and recording",
        "goes on with the other rules.",
        "",
        "| field | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{field}` | {_cell(meaning)} |" for field, meaning in FIELDS.items()]
    lines += [
        "",
        "`id`, `source`, `example`, `counter_example` and one of `starts_with` and `matches` are required. Layouts are the",
        "ways in which versions of Claude Code lay out their context: A reminders in user messages and tool results (1.0 to",
        "2.1.100, and newer ones with older models), B and C messages of the role `system` (2.1.197; 2.1.330).",
        "",
        "## Built-in rules",
        "",
        "In the order in which they are tried. In braces: what the text says there. Containers (memory, listings,",
        "instructions) are divided further among their files, skills, agents, tools and servers.",
        "",
        "| rule | layouts | source | kind | begins like |",
        "|---|---|---|---|---|",
    ]
    for rule in DEFAULT:
        label = Source(type=rule.type, name=rule.name or None).label
        example = rule.example.split("\n")[0][:60]
        lines.append(f"| `{rule.id}` | {rule.layouts} | {label} | {rule.kind} | `{_cell(example)}` |")
    return "\n".join(lines) + "\n"


def cli() -> str:
    """docs/reference/cli.md: every command with an example and its options."""
    lines = [
        "# Command line",
        "",
        "<!-- Made by docs/generate.py from the commands' own help. -->",
        "",
        "From a checkout, put `uv run` before each command. What every command that shows data takes:",
        "",
        "| option | meaning |",
        "|---|---|",
        "| `--json`, `--jsonl`, `--csv` | One JSON document, an object a line, CSV. Without: a table on a terminal, lines with tabs when piped. |",
        "| `--home DIR` | Home of CA, captures, configuration, `~/.claude-proxy` unless `CLAUDEPROXY_HOME` says otherwise. |",
        "| `--config FILE` | A configuration instead of `config.yaml` in the home. |",
        "",
        "Exit codes: 0 all well, 1 not found or a failed check, 2 a command line or configuration that cannot be used, 130",
        "after Ctrl-C, 141 when whoever read the output went away; `run` passes its command's on. Ids may be given as a",
        "unique beginning; an unknown one names what is near. Times are `90s`, `1h`, `2d` (ago), `today`, `yesterday` or",
        "ISO 8601. `NO_COLOR` is respected. Commands that read need no running server. The keys in JSON are those of the",
        "[REST API](api.md).",
    ]
    for name, (module, _) in COMMANDS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        within = getattr(command, "commands", None)
        if within:
            lines += ["", f"## {name}", "", *_paragraphs(command.help)]
        for path, one in (
            {f"{name} {word}": sub for word, sub in within.items()}.items() if within else [(name, command)]
        ):
            lines += ["", f"{'###' if within else '##'} {path}", "", *_paragraphs(one.help), "", "```console"]
            lines += [f"$ {(one.epilog or '').removeprefix('Example: ')}", "```"]
            lines += _options(one)
    return "\n".join(lines) + "\n"


def _paragraphs(text: str | None) -> list[str]:
    """A help text: each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n")).splitlines()


def _options(command: object) -> list[str]:
    rows = []
    for one in command.params:  # type: ignore[attr-defined]
        words = ", ".join(f"`{word}`" for word in one.opts)
        if one.param_type_name == "argument":
            words = f"`{one.metavar or one.human_readable_name}`"
        elif one.hidden or one.name in {"as_json", "jsonl", "csv", "home", "config", "help"}:
            continue
        elif one.metavar and not one.is_flag:
            words += f" `{one.metavar}`"
        default = f" Default: `{one.default}`." if one.default and not one.is_flag and not one.required else ""
        rows.append(f"| {words} | {_cell(one.help or '')}{default} |")
    return ["", "| option | meaning |", "|---|---|", *rows] if rows else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(value: object) -> str:
    if value is PydanticUndefined:
        raise ValueError("a key without a default needs a line of its own here")
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "[]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int) and value >= 1024 and value % 1024 == 0:
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value % size == 0:
                return f"{value // size}{unit}"
    return str(value)


PAGES = {"reference/cli.md": cli, "reference/configuration.md": configuration, "reference/rules.md": rules}


def main() -> int:
    """Write every page that changed."""
    for name, make in PAGES.items():
        path = DOCS / name
        text = make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
