"""Who may import whom, as data; the house stands because this fails when a wall is broken through."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PURE = {"errors", "model", "sansio"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "private": set(),
    "sansio": {"errors", "model"},
    "config": {"errors", "model"},
    "logs": {"errors", "model"},
    "live": {"errors", "model"},
    "evidence": {"errors", "model"},
    "attribution": PURE,
    "store": PURE | {"private"},
    "accounting": PURE | {"attribution"},
    "tls": {"errors"},
    "proxy": PURE | {"tls", "logs"},
    "capture": PURE | {"private"},
    "insight": PURE | {"logs", "store", "attribution", "accounting"},
    "export": PURE | {"store", "attribution", "accounting"},
    "testing": PURE | {"tls"},
    # joins the files that users write with the engine's own rules
    "ruleset": {"logs", "evidence", "attribution"},
    # the engine over the store: what explains a stored capture, by what others and the transcripts tell
    "storedevidence": {"evidence", "model", "store"},
    "explaining": PURE | {"logs", "evidence", "attribution", "store", "accounting", "storedevidence"},
    # what the recorder's log says, and what it does about parts of captures that could not be derived
    "telling": PURE | {"logs", "store"},
    "finishing": PURE | {"logs", "capture", "store", "explaining", "telling"},
    "following": {"errors", "logs", "model", "store", "explaining", "finishing"},
    # which exchanges are not to be stored at all
    "excluding": PURE | {"private"} | {"logs", "attribution", "store", "capture"},
    # a run of retention, and what starts one a day
    "retaining": PURE | {"logs", "config", "store", "capture"},
    "daily": {"logs", "retaining"},
    # the rules by which secrets in bodies are found, and what is done about those that were
    "detecting": {"errors", "evidence", "attribution", "capture"},
    "placing": {"errors", "logs", "model", "store", "capture", "detecting"},
    # the configuration in the words of the parts
    "translating": PURE | {"config", "proxy", "recordingsettings", "relaysettings"},
    # what a relay is told, and what one process relays; several of these
    "relaysettings": {"proxy"},
    "relaying": PURE | {"logs", "tls", "proxy", "capture", "detecting", "relaysettings"},
    "workers": PURE | {"logs", "memory", "proxy", "capture", "relaying", "relaysettings"},
    # what the recorder says unasked
    "alerting": {"logs", "store"},
    # the recorder's wiring: everything that runs behind the journal, nothing that stands in front of it
    "recording": PURE
    | {
        "logs",
        "alerting",
        "ruleset",
        "excluding",
        "explaining",
        "evidence",
        "finishing",
        "following",
        "telling",
        "placing",
    }
    | {"attribution", "store", "accounting", "capture", "memory", "recordingsettings"},
    # freed memory goes back to the system
    "memory": set(),
    # what a recorder is told: made by the relay, which loads nothing of the recorder's
    "recordingsettings": set(),
    # hosts the recorder as a thread or a process
    "supervisor": {"logs", "recording", "recordingsettings"},
    "service": PURE
    | {"config", "logs", "live", "evidence", "attribution", "store", "accounting"}
    | {"tls", "proxy", "capture", "insight", "export", "recordingsettings", "supervisor"}
    | {"translating", "relaying", "workers"}
    | {"daily", "retaining"},
    "api": {"errors", "model", "logs", "config", "live", "store", "attribution", "accounting", "insight", "export"},
    "web": {"errors", "model", "config", "live", "store", "attribution", "accounting", "insight", "export"},
}

# No I/O, clock, chance, thread or file in what must give the same answer for the same bytes.
IMPURE = {"trio", "time", "random", "secrets", "socket", "threading", "subprocess", "os", "io", "pathlib", "tempfile"}
WITHOUT_IO = {"errors", "model", "sansio", "attribution"}

# `claudeproxy query` answers at once: what it reads with must not load servers, TLS or tokenizers.
HEAVY = {"trio", "tiktoken", "cryptography", "OpenSSL", "quart", "quart_trio", "hypercorn", "h11", "trio_websocket"}
LIGHT = {"errors", "model", "store", "config", "logs"}


def library_files() -> list[Path]:
    return sorted((ROOT / "claudeproxy").rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "claudeproxy").parts
    return parts[0].removesuffix(".py")


def runtime_imports(path: Path) -> set[str]:
    """Dotted names of every module imported outside ``if TYPE_CHECKING`` blocks, at any depth of the file."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            if node.module == "claudeproxy":
                found.update(f"claudeproxy.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: relative imports hide the layers; write the full name")
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(path.read_text(encoding="utf-8")))
    return found


def all_imports(path: Path) -> set[str]:
    """As `runtime_imports`, type-checking imports included: a layer is a layer for types too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = runtime_imports(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", library_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_what_its_layer_allows(path: Path) -> None:
    package = package_of(path)
    if package in {"__init__", "__main__"}:
        return  # the lazy map of public names names everything and imports nothing at run time
    assert package in ALLOWED, f"{package} is not in the layer table: say there what it may import"
    ours = {name.split(".")[1] for name in all_imports(path) if name.startswith("claudeproxy.")}
    ours.discard(package)
    ours -= {"__version__", "__main__"}
    assert ours <= ALLOWED[package], f"{path.relative_to(ROOT)} may not import {sorted(ours - ALLOWED[package])}"


@pytest.mark.parametrize("path", library_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_packages_import_nothing_that_touches_the_world(path: Path) -> None:
    if package_of(path) not in WITHOUT_IO:
        return
    top = {name.split(".")[0] for name in runtime_imports(path)}
    assert not top & IMPURE, f"{path.relative_to(ROOT)} imports {sorted(top & IMPURE)}"


@pytest.mark.parametrize("path", library_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_what_read_commands_load_stays_light(path: Path) -> None:
    if package_of(path) not in LIGHT:
        return
    top = {name.split(".")[0] for name in runtime_imports(path)}
    assert not top & HEAVY, f"{path.relative_to(ROOT)} imports {sorted(top & HEAVY)}"


def test_nothing_in_the_library_imports_the_command_line() -> None:
    guilty = [str(p) for p in library_files() if any(n.startswith("claudeproxy_cli") for n in all_imports(p))]
    assert guilty == []


def test_every_public_name_resolves_to_its_home() -> None:
    import claudeproxy

    for name in claudeproxy.__all__:
        assert getattr(claudeproxy, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import claudeproxy

    with pytest.raises(AttributeError, match="nonsense"):
        _ = claudeproxy.nonsense


@pytest.mark.parametrize("path", [*library_files(), *sorted((ROOT / "cli").rglob("*.py"))], ids=lambda p: p.name)
def test_a_module_stays_under_three_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, f"{path.relative_to(ROOT)} wants to be cut in two"
