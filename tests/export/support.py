"""A database with one exchange of each kind, and HAR 1.2 as a schema (after the specification, section by section)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.store.storage import CaptureStorage
from tests.api.captures import answered, exchange, explained, prompt, whole
from tests.api.conftest import MAIN, of_every_kind

if TYPE_CHECKING:
    from pathlib import Path

BINARY = b"\x00\xff\xfe not UTF-8"
SURROGATE = b'{"text": "cut \\ud83d"}'


def filled(path: Path) -> CaptureStorage:
    """Every kind of exchange; the first explained; beyond them a binary body and one with half a character."""
    storage = CaptureStorage(path)
    exchanges = dict(of_every_kind())
    exchanges[20] = exchange(20, body=whole(BINARY), response=answered(200, BINARY))
    exchanges[21] = exchange(21, body=whole(SURROGATE), response=answered(200, SURROGATE))
    ids = storage.record(list(exchanges.values()), {})
    result = explained(prompt("main"), MAIN)
    storage.save_attribution(ids[0], result, [10] * len(result.segments()), rules_version="test-1")
    return storage


TEXT, NUMBER, WHOLE = str, (int, float), int
TIMING = "a number from 0, or -1 for unknown"
PAIRS = [{"name": TEXT, "value": TEXT}]
HAR = {
    "log": {
        "version": TEXT,
        "creator": {"name": TEXT, "version": TEXT},
        "pages?": [],
        "entries": [
            {
                "startedDateTime": TEXT,
                "time": NUMBER,
                "request": {
                    "method": TEXT,
                    "url": TEXT,
                    "httpVersion": TEXT,
                    "cookies": PAIRS,
                    "headers": PAIRS,
                    "queryString": PAIRS,
                    "postData?": {"mimeType": TEXT, "params": [], "text": TEXT, "comment?": TEXT},
                    "headersSize": WHOLE,
                    "bodySize": WHOLE,
                    "comment?": TEXT,
                },
                "response": {
                    "status": WHOLE,
                    "statusText": TEXT,
                    "httpVersion": TEXT,
                    "cookies": PAIRS,
                    "headers": PAIRS,
                    "content": {
                        "size": WHOLE,
                        "compression?": WHOLE,
                        "mimeType": TEXT,
                        "text?": TEXT,
                        "encoding?": TEXT,
                        "comment?": TEXT,
                    },
                    "redirectURL": TEXT,
                    "headersSize": WHOLE,
                    "bodySize": WHOLE,
                    "comment?": TEXT,
                },
                "cache": {},
                "timings": {
                    "blocked?": TIMING,
                    "dns?": TIMING,
                    "connect?": TIMING,
                    "ssl?": TIMING,
                    "send": NUMBER,
                    "wait": NUMBER,
                    "receive": NUMBER,
                },
            }
        ],
    }
}


def check(value: object, schema: object, place: str = "$") -> None:
    """Fail where a value is not as a schema says; names with an underscore are anybody's own."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), place
        known = {name.rstrip("?") for name in schema}
        own = {name for name in value if name.startswith("_")}
        assert value.keys() - own <= known, f"{place} has {sorted(value.keys() - own - known)}"
        for name, inner in schema.items():
            if name.rstrip("?") in value:
                check(value[name.rstrip("?")], inner, f"{place}.{name}")
            else:
                assert name.endswith("?"), f"{place} lacks {name}"
    elif isinstance(schema, list):
        assert isinstance(value, list), place
        for index, one in enumerate(value):
            check(one, schema[0], f"{place}[{index}]")
    elif schema == TIMING:
        assert isinstance(value, NUMBER), place
        assert value == -1 or value >= 0, place
    else:
        assert isinstance(value, schema), place  # type: ignore[arg-type]
        assert not isinstance(value, bool), place
