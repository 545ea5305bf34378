from __future__ import annotations

import base64
import gzip

import pytest

from claudeproxy.export.bodies import ExportedBody, header, read_body
from claudeproxy.model import BodyKept

GZIP = (("Content-Encoding", "gzip"),)
PACKED = gzip.compress(b"hello", mtime=0)


def test_utf8_is_text() -> None:
    assert read_body(BodyKept.WHOLE, "größer".encode(), ()) == ExportedBody(text="größer", size=8)


def test_anything_else_is_base64() -> None:
    assert read_body(BodyKept.WHOLE, b"\xff", ()) == ExportedBody(base64="/w==", size=1)


def test_a_content_coding_is_taken_off_and_named() -> None:
    assert read_body(BodyKept.WHOLE, PACKED, GZIP) == ExportedBody(text="hello", size=5, encoding="gzip")


def test_a_coding_that_the_store_has_taken_off_is_named_and_not_taken_off_again() -> None:
    body = read_body(BodyKept.WHOLE, b"hello", GZIP, taken_off="gzip")
    assert body == ExportedBody(text="hello", size=5, encoding="gzip")


def test_as_much_as_came_of_a_coded_body_that_was_cut_is_decoded() -> None:
    whole = b"".join(b"line %d\n" % number for number in range(5000))
    body = read_body(BodyKept.PARTIAL, gzip.compress(whole, mtime=0)[:-100], GZIP)
    assert body.text is not None
    assert whole.decode().startswith(body.text)
    assert body.encoding == "gzip"


def test_what_is_not_in_the_coding_that_it_names_stays_as_it_came() -> None:
    assert read_body(BodyKept.WHOLE, b"plain", GZIP) == ExportedBody(text="plain", size=5)
    strange = (("content-encoding", "strange"),)
    packed = base64.b64encode(PACKED).decode()
    assert read_body(BodyKept.WHOLE, PACKED, strange) == ExportedBody(base64=packed, size=len(PACKED))


@pytest.mark.parametrize("kept", [BodyKept.POLICY, BodyKept.TOO_LARGE, BodyKept.DROPPED])
def test_what_was_not_kept_has_neither(kept: BodyKept) -> None:
    assert read_body(kept, b"", ()) == ExportedBody()


def test_an_empty_body_is_an_empty_text() -> None:
    assert read_body(BodyKept.EMPTY, b"", ()) == ExportedBody(text="")


def test_a_damaged_body_says_so() -> None:
    assert read_body(BodyKept.WHOLE, None, ()) == ExportedBody(damaged=True)


def test_a_field_is_found_by_any_case_and_repeated_ones_are_joined() -> None:
    assert header((("A", "1"), ("b", "2"), ("a", "3")), "a") == "1, 3"
    assert header((), "a") is None
