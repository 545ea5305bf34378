"""Classes of cl100k tokens."""

from __future__ import annotations

import pytest

from claudeproxy.accounting.classes import CLASSES, classify, count_classes
from claudeproxy.accounting.tokens import TokenCounter


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (b" the", "w_short"),
        (b" parser", "w_mid"),
        (b" abstract", "w_long"),
        (b" Parser", "W_cap"),
        (b" A", "W_cap"),
        (b" JSON", "W_caps"),
        (b"ing", "frag"),
        (b"Path", "Frag"),
        (b"iPhone", "Frag"),
        (b"HTTP", "FRAG"),
        (b"123", "digit"),
        (b"(", "punct1"),
        (b" {", "punct1"),
        (b"):", "punct2"),
        (b' "', "punct1"),
        (b"   ", "space"),
        (b"\n\n", "newline"),
        (b" \r\n", "newline"),
        (" é".encode(), "latin_ext"),
        ("中".encode(), "cjk"),
        (" по".encode(), "other_u"),
        ("…".encode(), "other_u"),
        (b"\xe4\xb8", "other_u"),
        (b".get", "mixed"),
        (b"_name", "mixed"),
    ],
)
def test_a_token_is_classified_by_its_bytes(token, kind):
    assert classify(token) == kind


def test_the_classes_of_a_text_sum_to_its_tokens():
    text = "def read(path: str) -> None:\n    # Größe in 中文, 42 Bytes; HTTP/1.1 \ud83d\n" * 20
    counts = count_classes(text)
    assert len(counts) == len(CLASSES)
    assert sum(counts) == TokenCounter().count(text)


def test_an_empty_text_has_no_tokens():
    assert count_classes("") == (0,) * len(CLASSES)
