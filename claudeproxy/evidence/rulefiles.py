"""Reads users' rules, from YAML files and from installed packages, as plain values.

Apart because attribution reads no files: `attribution.userrules` judges what stands in them. A file that cannot be
read is a document with a problem and no error: rules must never keep anything from being recorded.

Packages offer rules under the entry point group ``claudeproxy.rules``: a mapping as in a file, a list of rows or of
`attribution.Rule` values, or a function without arguments that returns one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GROUP: Final = "claudeproxy.rules"
MAX_FILE: Final = 1 << 20  # bytes: thousands of rules; beyond it something else was named by mistake
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDocument:
    """One file's or entry point's content. `problem` says why there is none, with the remedy."""

    origin: str
    content: object = None
    problem: str | None = None


def read_rule_documents(paths: Sequence[Path], *, optional: Path | None = None) -> list[RuleDocument]:
    """Read files (a directory stands for its YAML files, by name), then what installed packages offer.

    :param optional: read first, when it is there.
    """
    documents = [read_rule_file(optional)] if optional is not None and optional.exists() else []
    for path in paths:
        documents += [read_rule_file(file) for file in rule_files(path)]
    return documents + _offered()


def read_rule_file(path: Path) -> RuleDocument:
    """Read one YAML file. Never raises."""
    import yaml

    origin = str(path)
    try:
        if path.stat().st_size > MAX_FILE:
            return RuleDocument(origin=origin, problem=f"this is no file of rules: it is larger than {MAX_FILE} bytes")
        text = path.read_text(encoding="utf-8")
        return RuleDocument(origin=origin, content=yaml.safe_load(text))
    except OSError as error:
        remedy = "create it, or take it out of rules_files"
        return RuleDocument(origin=origin, problem=f"cannot be read ({error.strerror or error}): {remedy}")
    except UnicodeDecodeError:
        return RuleDocument(origin=origin, problem="is not UTF-8: save it as UTF-8")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return RuleDocument(origin=origin, problem=f"is not YAML: {_yaml_problem(error)}")


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    what = str(getattr(error, "problem", None) or error).split("\n")[0]
    remedy = "put the value into quotes" if "mapping values" in what or "found character" in what else "mend that line"
    return f"{where}{what}; {remedy}"


def rule_files(path: Path) -> list[Path]:
    """The file itself, or the YAML files of a directory, by name. Never raises: reading what is not there says why."""
    try:
        return sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else [path]
    except OSError:
        return [path]


def _offered() -> list[RuleDocument]:
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else "?"
        origin = f"entry point {point.name} of {package}"
        try:
            content = point.load()
            content = content() if callable(content) else content
        except Exception as error:  # noqa: BLE001 - somebody else's code: it may raise whatever it likes
            problem = f"cannot be loaded ({type(error).__name__}: {error}): mend or uninstall {package}"
            found.append(RuleDocument(origin=origin, problem=problem))
        else:
            found.append(RuleDocument(origin=origin, content=content))
    return found
