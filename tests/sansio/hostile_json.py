"""Writes JSON in every way that the grammar allows (white space, escapes, duplicate keys), to test what cuts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from random import Random

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["\ud800", "a\udfffb", '"', "\\", "\u2028\x00\x1f", "é€😀", '{"cache_control":1}', "]},", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def write_json(value: object, random: Random, *, duplicates: bool = True) -> bytes:
    """Serialise `value`; with `duplicates` some keys come twice, the last one carrying the value."""
    return (_space(random) + _write(value, random, duplicates) + _space(random)).encode("utf-8")


def _space(random: Random) -> str:
    return "".join(random.choice(" \n\t\r") for _ in range(random.choice((0, 0, 0, 1, 3))))


def _string(text: str, random: Random) -> str:
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\' or code < 0x20 or 0xD800 <= code < 0xE000 or random.random() < 0.1:
            out.append("".join(f"\\u{unit:04{random.choice('xX')}}" for unit in _utf16(char)))
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def _utf16(char: str) -> list[int]:
    data = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def _write(value: object, random: Random, duplicates: bool) -> str:
    if isinstance(value, str):
        return _string(value, random)
    if isinstance(value, list):
        items = [_space(random) + _write(item, random, duplicates) + _space(random) for item in value]
        return "[" + (",".join(items) or _space(random)) + "]"
    if isinstance(value, dict):
        pairs = list(value.items())
        if duplicates and pairs and random.random() < 0.2:
            pairs.insert(0, (random.choice(pairs)[0], "an earlier duplicate"))
        members = [
            f"{_space(random)}{_string(key, random)}{_space(random)}:{_space(random)}"
            f"{_write(item, random, duplicates)}{_space(random)}"
            for key, item in pairs
        ]
        return "{" + (",".join(members) or _space(random)) + "}"
    return json.dumps(value)
