"""Writes the pages that are made from the code: run it after a change, or the tests say that a page is stale.

uv run python docs/generate.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from claudeproxy.config import ClaudeProxyConfig

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


PAGES = {"reference/configuration.md": configuration}


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
