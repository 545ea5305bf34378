"""TokenCounter: how many tokens a text has, estimated with cl100k_base, offline.

Apart because the vocabulary is 25 MB in memory and a fifth of a second to load: nothing else imports tiktoken, and
nothing is loaded before the first count. Claude's own tokenizers are not published; what is counted here is an estimate
(accounting later weighs it against the bill).

The vocabulary is bundled (`data/`, MIT licence beside it) and the `tiktoken.Encoding` built directly: tiktoken's own
loader downloads it. Special tokens in a text (``<|endoftext|>``) are text like any other.
"""

from __future__ import annotations

import lzma
import threading  # noqa: TID251  # no thread is made here: a lock, so that two callers' threads load once
from functools import cache
from importlib.resources import files
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tiktoken

NAME = "cl100k_base"
VOCABULARY_SIZE = 100_256
# Longer input makes tiktoken's regular expression overflow its stack (about a million blanks: a Rust panic, which no
# `except Exception` catches). Cutting costs 0.25 tokens in 10,000.
MAX_CHARACTERS = 100_000

# tiktoken_ext/openai_public.py, cl100k_base (MIT)
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
_LOADING = threading.Lock()


class TokenCounter:
    """Counts tokens. Cheap to make; the vocabulary is loaded once a process, by the first count. Thread-safe."""

    name = NAME

    def count(self, text: str) -> int:
        """Return the number of tokens of `text`; lone surrogates count as one replacement character each."""
        return len(encode(text))

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, in order."""
        return [self.count(text) for text in texts]


def encode(text: str) -> list[int]:
    """Return the cl100k tokens of `text` by rank; what is not encodable and what is long is treated as in `count`."""
    if not text:
        return []
    encoding = _encoding()
    if len(text) <= MAX_CHARACTERS:
        return encoding.encode_ordinary(_encodable(text))
    return [token for piece in _pieces(_encodable(text)) for token in encoding.encode_ordinary(piece)]


def read_vocabulary() -> list[bytes]:
    """Return the tokens' bytes in the order of their ranks.

    The file is LZMA over the length of each token (one byte each) followed by all tokens end to end.
    """
    data = lzma.decompress(files("claudeproxy.accounting").joinpath("data", f"{NAME}.xz").read_bytes())
    ends = accumulate(data[:VOCABULARY_SIZE], initial=VOCABULARY_SIZE)
    return [data[start:end] for start, end in pairwise(ends)]


def _encoding() -> tiktoken.Encoding:
    with _LOADING:
        return _load()


@cache
def _load() -> tiktoken.Encoding:
    import tiktoken

    ranks = {token: rank for rank, token in enumerate(read_vocabulary())}
    encoding = tiktoken.Encoding(NAME, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    # Its compiled part has copied them. It also keeps this dictionary, for pickling and for looking tokens up, which we
    # do not do: 10 MB for nothing.
    ranks.clear()
    return encoding


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), MAX_CHARACTERS):
        yield text[start : start + MAX_CHARACTERS]
