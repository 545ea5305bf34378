"""Writes the pages that are made from the code: run it after a change, or the tests say that a page is stale.

uv run python docs/generate.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.userrules import FIELDS
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.model import Source

DOCS = Path(__file__).resolve().parent


def configuration() -> str:
    """docs/reference/configuration.md: every key with its type, default, variable and reason."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by docs/generate.py from claudeproxy/config/keys.py. -->",
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


PAGES = {"reference/configuration.md": configuration, "reference/rules.md": rules}


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
