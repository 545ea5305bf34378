"""TokenCounter against the vocabulary's published hash and known counts; no network, no environment."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from claudeproxy.accounting import TokenCounter
from claudeproxy.accounting.tokens import MAX_CHARACTERS, VOCABULARY_SIZE, read_vocabulary

PUBLISHED_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"


def test_the_bundled_vocabulary_is_the_published_one():
    """Written out in tiktoken's own form, the bundled tokens have the published SHA-256."""
    tokens = read_vocabulary()
    lines = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))
    assert len(tokens) == VOCABULARY_SIZE
    assert hashlib.sha256(lines).hexdigest() == PUBLISHED_SHA256


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("お誕生日おめでとう", 9),
    ],
)
def test_counts_are_those_of_cl100k_base(text, tokens):
    """Counts published in OpenAI's cookbook (and, for the empty text, nothing)."""
    assert TokenCounter().count(text) == tokens


def test_special_tokens_in_a_text_are_plain_text():
    """A user may write the name of a special token without an error and without it counting as one token."""
    assert TokenCounter().count("<|endoftext|>") > 1


def test_lone_surrogates_are_counted_not_refused():
    """JavaScript cuts strings between the halves of a pair; such text still has a size."""
    counter = TokenCounter()
    assert counter.count("a \ud83d b") > 1
    assert counter.count("a \udcff b") > 1


def test_a_million_blanks_do_not_panic():
    """Uncut, this input makes the tokenizer die of a BaseException."""
    assert TokenCounter().count(" " * 1_000_000 + "x") > 1


def test_cutting_changes_a_long_text_by_next_to_nothing():
    """The pieces of a text of three times the limit sum to about three times the count of one."""
    sentence = "The quick brown fox jumps over the lazy dog. "
    one = sentence * (MAX_CHARACTERS // len(sentence))
    counter = TokenCounter()
    assert counter.count(one * 3) == pytest.approx(3 * counter.count(one), abs=6)


def test_count_many_counts_each():
    """One number a text, in order."""
    counter = TokenCounter()
    texts = ["hello world", "", "hello"]
    assert counter.count_many(texts) == [counter.count(text) for text in texts]


def test_threads_that_count_at_once_agree():
    """The first use may come from several threads together."""
    counter = TokenCounter()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(counter.count, ["hello world"] * 16)) == {2}


def test_importing_the_package_loads_no_tokenizer():
    """Commands that only read start at once; the tokenizer is loaded by the first count."""
    code = "import sys, claudeproxy.accounting; sys.exit('tiktoken' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_vocabulary_is_not_held_twice():
    """tiktoken's compiled part has it; a dictionary of it would be 100,000 names and almost as many numbers more."""
    code = (
        "import sys, claudeproxy.accounting.tokens as tokens, tiktoken, importlib.resources, lzma;"
        "before = sys.getallocatedblocks(); assert len(tokens.encode('hello world')) == 2;"
        "sys.exit(sys.getallocatedblocks() - before > 50_000)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
