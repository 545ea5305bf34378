"""What stands between the wire and the disk: the journal, and the redaction before it."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.capture.finder import Found, SecretFinder
from claudeproxy.capture.journal_format import RecordType, encode_header, find_header, header_seed, segment_path
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.redact import redact_headers, redact_text, redact_url
from tests.fuzz.target import Target, chance, pieces, single_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWNER = "owner"
_SEED = header_seed(_OWNER, 0)
_BREAK = b"\xff\xfe"  # between two payloads of a journal
_SECRET = "dummyplantedsecret"
_KEY = "sk-ant-api03-dummy"


@cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="fuzz-journal-")) / _OWNER
    directory.mkdir()
    return directory


def _read(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """(exchange, payload) of every record in a journal of these bytes, and how many were damaged."""
    segment_path(_directory(), 0).write_bytes(data)
    reader = JournalReader(_directory())
    found, places = [], []
    for record in reader.records(final=True):
        payload = bytes(record.payload)
        assert reader.payload([record.span]) == payload
        assert record.start < reader.position <= (0, len(data))
        found.append((record.exchange, payload))
        places.append(reader.position)
    assert places == sorted(set(places))
    if places:
        at = chance(data).randrange(len(places))
        again = JournalReader(_directory(), position=places[at])
        assert [bytes(record.payload) for record in again.records(final=True)] == [p for _, p in found[at + 1 :]]
    return found, reader.damaged


def check_journal(data: bytes) -> None:
    """Junk gives no record and no end without end; a damaged byte costs the record that it stands in and no other."""
    _read(data)
    if find_header(data, 0, seed=_SEED) is not None:
        return  # it holds a header of this very journal, which a damaged one before it would uncover
    records = [
        encode_header(RecordType.RESPONSE_BODY, number, 7, payload, seed=_SEED) + payload
        for number, payload in enumerate(data.split(_BREAK)[:8], 1)
    ]
    whole = b"".join(records)
    expected = [(number, record[32:]) for number, record in enumerate(records, 1)]
    assert _read(whole) == (expected, 0)
    place = chance(data).randrange(len(whole))
    ends = list(accumulate(map(len, records)))
    hit = bisect_right(ends, place)  # the record that the byte stands in
    damaged = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
    found, count = _read(damaged)
    last = hit == len(records) - 1
    assert found == expected[:hit] + expected[hit + 1 :]
    assert count == 1 or last
    assert _read(whole[:place])[0] == expected[:hit]


def check_redaction(data: bytes) -> None:
    """A planted secret is gone, whatever stands round it; a second time changes nothing; other bytes stay."""
    text = data.decode("latin-1")
    for url in (
        f"https://host.example/p?{text}&access_token={_SECRET}",
        f"https://user:{_SECRET}@host.example/{text}",
        f"https://host.example/{text}?x=1#id_token={_SECRET}",
        f"/{text};api_key={_SECRET}",
    ):
        clean = redact_url(url)
        assert _SECRET not in clean, clean
        assert redact_url(clean) == clean
    key = f"{text}{_KEY}"
    assert _KEY not in redact_text(key)
    assert _KEY not in redact_url(key)
    assert redact_text(redact_text(key)) == redact_text(key)
    fields = (
        (b"Authorization", data + _SECRET.encode()),
        (b"X-Anything", b"Bearer " + _SECRET.encode() + data),
        (b"Location", b"https://a.example/?" + data + b"&token=" + _SECRET.encode()),
        (b"X-Other", data + _KEY.encode()),
        (b"Accept", b"*/*"),
    )
    clean_fields = redact_headers(fields)
    assert [name for name, _ in clean_fields] == [name for name, _ in fields]
    joined = b"\n".join(value for _, value in clean_fields)
    assert _SECRET.encode() not in joined
    assert _KEY.encode() not in joined
    assert clean_fields[-1] == fields[-1]
    assert redact_headers(clean_fields) == clean_fields


_FINDER = SecretFinder(KNOWN, key=b"k" * 16)


def _masked(parts: Iterable[bytes]) -> tuple[bytes, list[Found]]:
    stream = _FINDER.stream()
    out = b"".join([stream.feed(part) for part in parts])
    return out + stream.finish(), stream.found


def check_secrets(data: bytes) -> None:
    """Any split masks the same; length, JSON and every byte outside of a secret stay what they were."""
    out, found = _masked([data])
    assert _masked(pieces(data)) == (out, found)
    assert _masked(single_bytes(data)) == (out, found)
    assert len(out) == len(data)
    at = 0
    for one in found:
        assert at <= one.start < one.start + one.length <= len(data)
        assert out[at : one.start] == data[at : one.start]
        assert out[one.start : one.start + one.length] != data[one.start : one.start + one.length]
        at = one.start + one.length
    assert out[at:] == data[at:]
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return
    json.loads(out)


TARGETS = (
    Target(
        name="journal",
        invariant="a damaged byte costs the record that it stands in and no other; reading goes on from any place",
        check=check_journal,
        seeds=lambda: [
            _BREAK.join([b"one", b"", b"two" * 30, b"\xc5\x01" * 20]),
            encode_header(RecordType.OPEN, 1, 2, b"{}", seed=_SEED) + b"{}",
            encode_header(RecordType.END, 1, 2, b"{}", seed=_SEED) + b"{",
        ],
        words=(_BREAK, b"\xc5\x01", bytes(32), encode_header(RecordType.END, 1, 2, b"", seed=_SEED)),
        rounds=80,
        max_bytes=2000,
    ),
    Target(
        name="redaction",
        invariant="a planted secret is gone, whatever stands round it; redacting twice changes nothing",
        check=check_redaction,
        seeds=lambda: [
            b"api_key=1&b=2#state=x;sig=3",
            b"user:pass@host ?token[]=%20&tokens=7",
            b"Bearer sk-ant-oat01-dummy, Basic eA==",
        ],
        words=(
            b"?", b"&", b";", b"#", b"=", b"@", b"://", b":", b"/", b"%3D", b"%26", b"token", b"api_key", b"sk-ant-",
            b"sk-", b"[REDACTED]", b"\r\n", b" ", b"Bearer ", b"\xad", b"\xa0",
        ),
        rounds=1500,
        max_bytes=300,
    ),
    Target(
        name="secrets",
        invariant="any split masks the same; length, JSON and every byte outside of a secret stay what they were",
        check=check_secrets,
        seeds=lambda: [
            *(rule.example.encode() for rule in KNOWN),
            *(json.dumps({"text": json.dumps(rule.example)}).encode() for rule in KNOWN),
        ],
        words=(*dict.fromkeys(marker for rule in KNOWN for marker in rule.markers), b"\\n", b"\\u000a", b'"', b"\r\n"),
        rounds=300,
        max_bytes=600,
    ),
)  # fmt: skip
