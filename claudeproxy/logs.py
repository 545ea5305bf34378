"""Structured logs: one set-up for every process of ours, on standard error, as lines for people or as JSON.

Apart so that every package can say `get_logger(__name__)` at import time for nothing: structlog is imported when the
first line is written, also where logging is configured long before. A program that uses the library and sets nothing
up sees warnings and errors only.

Logging is never allowed to hurt: a closed or full standard error is ignored, control characters are taken out (a
captured string must not drive somebody's terminal), and whatever is keyed like a header, a body or a secret is masked.
The masking is the last line of defence, not the first: callers log no such values.

It writes no files and rotates none: that is the work of whoever started the process.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict

FORMATS: Final = ("auto", "console", "json")
LEVELS: Final = ("debug", "info", "warning", "error")
_LEVEL_NUMBERS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

MASK: Final = "[REDACTED]"

# C0, DEL and C1 controls but tab and newline, and the marks that reorder text on a terminal (bidirectional controls).
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST: Final = 3  # entries of a mapping that a console line shows

# Keys as Anthropic writes them (console keys, OAuth and admin tokens), and any bearer or basic credential.
_KEYLIKE: Final = re.compile(r"sk-ant-[\w-]{4,}|(?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}")
_SECRET_WORDS: Final = frozenset(
    {"authorization", "cookie", "cookies", "password", "secret", "credential", "credentials", "apikey", "auth"}
)
_SECRET_NAMES: Final = frozenset({"token", "key", "header", "headers", "body", "data", "prompt", "content"})
_SECRET_ENDINGS: Final = ("_token", "_key", "_headers", "_body")


class Logger:
    """A named logger whose methods write one event each: a short event name, then facts by keyword.

    Values may be strings, numbers, None, and lists or mappings of them. Never raises.
    """

    __slots__ = ("_context", "name")

    def __init__(self, name: str, **context: object) -> None:
        self.name = name
        self._context = context

    def __repr__(self) -> str:
        return f"<Logger {self.name}>"

    def bind(self, **context: object) -> Logger:
        """A logger that adds these facts to every event."""
        return Logger(self.name, **{**self._context, **context})

    def debug(self, event: str, **facts: object) -> None:
        """Log what only somebody hunting a fault wants to see."""
        self._write("debug", event, facts)

    def info(self, event: str, **facts: object) -> None:
        """Log what happened as it should."""
        self._write("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Log what went wrong and was coped with."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """Log what went wrong and cost something."""
        self._write("error", event, facts)

    def exception(self, event: str, **facts: object) -> None:
        """Log an error with the traceback of the exception being handled."""
        self._write("error", event, {"exc_info": True, **facts})

    def _write(self, level: str, event: str, facts: Mapping[str, object]) -> None:
        # Compared here, before structlog is even imported: it costs 0.1 to 0.2 s, and a read-only command logs nothing.
        if _LEVEL_NUMBERS[level] < _Setup.threshold:
            return
        if not _Setup.done:
            configure_logging(level=_Setup.UNASKED)
        if _Setup.pending is not None:
            _Setup.pending()
        import structlog

        getattr(structlog.get_logger(self.name), level)(event, **{**self._context, **facts})


def get_logger(name: str) -> Logger:
    """The logger of a module: ``get_logger(__name__)``. Costs nothing until it writes."""
    return Logger(name)


class _Setup:
    """What `configure_logging` was last told; module state, because logging is the process's, not a caller's."""

    UNASKED: Final = "warning"  # as with `logging`: a library does not chatter on the standard error of its host
    done = False
    threshold = _LEVEL_NUMBERS[UNASKED]
    pending: Callable[[], None] | None = None  # tells structlog, before the first line


def configure_logging(log_format: str = "auto", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up logging for this process; may be called again.

    `log_format`: ``json``, ``console``, or ``auto`` (console when the stream is a terminal). `level`: the lowest that
    is written, one of `LEVELS`. `stream`: standard error when None. Raises ValueError for anything else.

    Warnings and errors of libraries that use `logging` (hypercorn, quart) come out in the same form.
    """
    if log_format not in FORMATS or level not in LEVELS:
        raise ValueError(f"log format is one of {', '.join(FORMATS)} and level one of {', '.join(LEVELS)}")
    _Setup.done = True
    _Setup.threshold = _LEVEL_NUMBERS[level]
    _Setup.pending = partial(_tell_structlog, log_format, level, stream)
    _forward_library_logs()
    if "structlog" in sys.modules:  # whoever loaded it may write lines of his own before we do
        _Setup.pending()


def _tell_structlog(log_format: str, level: str, stream: TextIO | None) -> None:
    import structlog

    _Setup.pending = None
    sink = _Sink(stream)
    if log_format == "auto":
        log_format = "console" if sink.is_terminal() else "json"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True)
            if log_format == "json"
            else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),  # the clock on the person's wall
            # As plain text: structlog's richer tracebacks show local variables, and those hold headers and bodies.
            structlog.processors.format_exc_info,
            clean,
            _json_renderer if log_format == "json" else _ConsoleRenderer(color=sink.is_terminal() and not _no_color()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVEL_NUMBERS[level]),
        logger_factory=lambda name="claudeproxy", *_: _Sink(stream, name),
        cache_logger_on_first_use=False,
    )


def _add_name(logger: _Sink, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    return event


def clean(_logger: object, _method: str, event: EventDict) -> EventDict:
    """The structlog processor that masks secrets and takes control characters out, at any depth."""
    masked = {key: MASK if _is_secret(key) else _cleaned(value) for key, value in event.items()}
    return {**masked, "event": str(masked.get("event", "")).replace("\n", " ")}  # a line break would forge a line


def _is_secret(key: str) -> bool:
    name = key.lower().replace("-", "_")
    words = name.split("_")
    return name in _SECRET_NAMES or name.endswith(_SECRET_ENDINGS) or not _SECRET_WORDS.isdisjoint(words)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return _KEYLIKE.sub(MASK, _CONTROLS.sub("", value))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(_cleaned(str(k))): MASK if _is_secret(str(k)) else _cleaned(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"  # bytes are always somebody's: a header, a body, a key
    return _cleaned(str(value))


def _json_renderer(_logger: object, _method: str, event: EventDict) -> str:
    head = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return json.dumps({**head, **event}, ensure_ascii=False, default=str)


class _ConsoleRenderer:
    """A line for somebody who watches: the time, what happened, and the facts, each no longer than a glance.

    Not structlog's: that writes ids, the logger's name and a mapping of sixty sources in full. JSON has it all.
    """

    _COLORS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        time, what, level = (str(event.pop(key, "")) for key in ("timestamp", "event", "level"))
        event.pop("logger", None)
        traceback = event.pop("exception", None)
        if level in self._COLORS:
            what = f"{level}: {what}"
            what = f"{self._COLORS[level]}{what}\x1b[0m" if self._color else what
        facts = (f"{key}={_glance(value)}" for key, value in event.items() if value is not None)
        line = " ".join((time, what, *facts))
        return line if traceback is None else f"{line}\n{traceback}"


def _glance(value: object) -> str:
    """A fact in a few characters: an id by its beginning, of a mapping of numbers the largest."""
    if isinstance(value, str):
        short = value[:8] if _UUID.fullmatch(value) else value
        return short if short.isprintable() and not set(' "=') & set(short) else json.dumps(short, ensure_ascii=False)
    if isinstance(value, Mapping) and all(isinstance(number, int) for number in value.values()):
        largest = sorted(value.items(), key=lambda item: -item[1])
        more = [f"{len(largest) - MOST} more"] if len(largest) > MOST else []
        return f"{{{', '.join([f'{_one_line(name)} {number}' for name, number in largest[:MOST]] + more)}}}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _one_line(name: str) -> str:
    return " ".join(name.split())  # a line break in a captured name would forge a line


class _Sink:
    """Writes lines to a stream and forgives the stream everything: the relay must not die of its log."""

    def __init__(self, stream: TextIO | None, name: str = "") -> None:
        self._stream = stream
        self.name = name

    @property
    def _target(self) -> TextIO | None:
        return self._stream if self._stream is not None else sys.stderr  # looked up late: tests replace it

    def is_terminal(self) -> bool:
        target = self._target
        try:
            return target is not None and target.isatty()
        except ValueError:  # closed
            return False

    def msg(self, line: str) -> None:
        target = self._target
        if target is None:
            return
        try:
            target.write(line + "\n")
            target.flush()
        except (OSError, ValueError):  # full, gone, closed; UnicodeEncodeError is a ValueError
            return

    debug = info = warning = error = critical = msg


def _no_color() -> bool:
    """Whether the person asked for no colour; see https://no-color.org: any value that is not empty."""
    return bool(os.environ.get("NO_COLOR"))


class _Forward(logging.Handler):
    """Hands warnings and errors of libraries that use `logging` to our logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the message only, as their tracebacks and arguments are not ours to vouch for."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        Logger(record.name)._write(level, record.getMessage(), {"exception_type": kind} if kind else {})


def _forward_library_logs() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Forward) for handler in root.handlers):
        root.addHandler(_Forward(logging.WARNING))
