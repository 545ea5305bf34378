"""The published page is the corpus."""

from __future__ import annotations

from tests.hygiene.page import PATH, page


def test_the_page_is_what_the_corpus_says_now() -> None:
    assert PATH.read_text(encoding="utf-8") == page(), "run `uv run python -m tests.hygiene`"
