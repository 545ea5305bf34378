from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from claudeproxy.logs import MASK, Logger, _Setup, clean, configure_logging, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging is the process's: no other test may see what these set."""
    before = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before
    _Setup.done, _Setup.threshold, _Setup.pending = False, 30, None


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("json", "debug", stream=stream)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_begin_with_when_how_bad_who_and_what(stream: io.StringIO) -> None:
    get_logger("claudeproxy.x").info("captured", request_id="1", tokens=5)
    (line,) = _lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {"level": "info", "logger": "claudeproxy.x", "event": "captured", "request_id": "1", "tokens": 5}


def test_bound_facts_are_on_every_line(stream: io.StringIO) -> None:
    log = get_logger("x").bind(correlation_id="c")
    log.debug("one")
    log.warning("two", correlation_id="d")
    log.error("three")
    assert [(line["level"], line["correlation_id"]) for line in _lines(stream)] == [
        ("debug", "c"),
        ("warning", "d"),
        ("error", "c"),
    ]
    assert repr(log) == "<Logger x>"


def test_lower_levels_are_not_written() -> None:
    stream = io.StringIO()
    configure_logging("json", "warning", stream=stream)
    get_logger("x").info("no")
    get_logger("x").warning("yes")
    assert [line["event"] for line in _lines(stream)] == ["yes"]


SECRET_KEYS = (
    "authorization Proxy-Authorization x-api-key api_key cookie set-cookie headers request_headers body response_body "
    "access_token token password client_secret proxy_auth"
)


@pytest.mark.parametrize("key", SECRET_KEYS.split())
def test_whatever_is_keyed_like_a_secret_a_header_or_a_body_is_masked(key: str) -> None:
    assert clean(None, "info", {key: "value", "in": {key: ["value"]}}) == {key: MASK, "in": {key: MASK}, "event": ""}


@pytest.mark.parametrize("key", ["total_tokens", "tokens", "host", "source_name", "request_id", "state", "author"])
def test_ordinary_facts_are_not(key: str) -> None:
    assert clean(None, "info", {key: "value"})[key] == "value"


@pytest.mark.parametrize("text", ["sk-ant-api03-dummy_dummy", "Bearer dummydummy", "basic ZHVtbXk6ZHVtbXk="])
def test_keys_within_texts_are_masked(text: str) -> None:
    cleaned = clean(None, "info", {"event": f"was {text}", "error": f"got ({text})", "list": (text, 1)})
    assert "ummy" not in json.dumps(cleaned)
    assert MASK in str(cleaned["error"])


def test_control_characters_never_reach_a_terminal() -> None:
    cleaned = clean(None, "info", {"event": "a\nb", "model": "\x1b[31mred\x07\x9b\u202e"})
    assert cleaned == {"event": "a b", "model": "[31mred"}


def test_values_of_every_kind_can_be_logged(stream: io.StringIO) -> None:
    get_logger("x").info(
        "e", none=None, flag=True, number=1.5, raw=b"abc", many={1}, other=ValueError("v"), lone="\ud800"
    )
    (line,) = _lines(stream)
    assert (line["raw"], line["other"], line["many"]) == ("<3 bytes>", "v", [1])


def test_an_exception_is_told_with_its_traceback_and_without_its_values(stream: io.StringIO) -> None:
    def fail() -> None:
        hidden = "dummy-value-of-a-local"
        raise RuntimeError(f"length {len(hidden)}")

    try:
        fail()
    except RuntimeError:
        get_logger("x").exception("failed")
    (line,) = _lines(stream)
    assert "RuntimeError: length 22" in str(line["exception"])
    assert "dummy-value-of-a-local" not in str(line["exception"]).replace('hidden = "dummy-value-of-a-local"', "")


def test_the_console_form_is_one_readable_line() -> None:
    stream = io.StringIO()
    configure_logging("console", stream=stream)
    get_logger("claudeproxy.x").info("captured", source_name="MCP: docs\nforged line")
    (line,) = stream.getvalue().splitlines()
    assert "captured" in line
    assert "MCP: docs\\nforged line" in line


def test_the_console_form_is_short_enough_to_watch() -> None:
    """Ids by their beginning, of many numbers the largest, no logger's name; a warning is called one."""
    stream = io.StringIO()
    configure_logging("console", stream=stream)
    sources = {"Tool: Bash": 4, "User": 0, "MCP: a\nforged": 30, "Skill: b": 20, "Tool: Read": 1}
    identity = "b91f9f4d-ed90-50bd-81c4-54ab8164d058"
    get_logger("claudeproxy.x").warning("attributed", request_id=identity, sources=sources, error=None, host="a b")
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning: attributed request_id=b91f9f4d "
        r'sources=\{MCP: a forged 30, Skill: b 20, Tool: Bash 4, 2 more\} host="a b"',
        line,
    )


def test_the_console_form_tells_tracebacks_below_the_line() -> None:
    stream = io.StringIO()
    configure_logging("console", stream=stream)
    try:
        int("x")
    except ValueError:
        get_logger("x").exception("failed")
    assert stream.getvalue().splitlines()[0].endswith(" error: failed")
    assert stream.getvalue().splitlines()[-1].startswith("ValueError: ")


@pytest.mark.parametrize("broken", ["closed", "full"])
def test_a_broken_stream_harms_nobody(broken: str) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    stream = Full() if broken == "full" else io.StringIO()
    if broken == "closed":
        stream.close()
    configure_logging("auto", stream=stream)
    get_logger("x").error("e")


def test_standard_error_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("auto")
    monkeypatch.setattr(sys, "stderr", None)
    get_logger("x").error("e")


def test_libraries_that_use_structlog_or_logging_come_out_alike(stream: io.StringIO) -> None:
    structlog.get_logger("api").info("asked", path="/x")
    logging.getLogger("hypercorn").error("Bearer dummydummy")
    logging.getLogger("hypercorn").info("chatter")
    logging.getLogger("hypercorn").warning("odd", exc_info=KeyError("k"))
    assert [(line["logger"], line["event"], line.get("exception_type")) for line in _lines(stream)] == [
        ("api", "asked", None),
        ("hypercorn", MASK, None),
        ("hypercorn", "odd", "KeyError"),
    ]


@pytest.mark.parametrize("arguments", [("xml", "info"), ("json", "loud")])
def test_unknown_formats_and_levels_are_refused(arguments: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="console, json"):
        configure_logging(*arguments)


def test_a_logger_costs_nothing_until_it_writes() -> None:
    code = (
        "import sys; from claudeproxy.logs import get_logger; log = get_logger('x'); log.info('unseen');"
        "assert 'structlog' not in sys.modules; log.warning('seen'); assert 'structlog' in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stderr)["event"] == "seen"


def test_a_configured_logger_costs_nothing_either_until_it_writes() -> None:
    """A proxy accepts connections before its first line: structlog would be a tenth of its start."""
    code = (
        "import sys; from claudeproxy.logs import configure_logging, get_logger; configure_logging('json', 'info');"
        "assert 'structlog' not in sys.modules; get_logger('x').info('seen'); assert 'structlog' in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stderr)["event"] == "seen"


def test_loggers_are_values() -> None:
    assert isinstance(get_logger("x"), Logger)
