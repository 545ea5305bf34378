"""Which kind of token each cl100k token is: seventeen classes by its bytes, and how many of each a text has.

Apart because it is what makes sizes portable. Claude's tokenizers are not published, but how many of their tokens a
cl100k token becomes depends mostly on what sort of token it is: a common short word stays one, a piece of an identifier
becomes two. `weights` learns one factor for each class from the bills; this module only counts.

The vocabulary is loaded by the first count, as in `tokens`.
"""

from __future__ import annotations

from functools import cache, lru_cache

from claudeproxy.accounting.tokens import encode, read_vocabulary

# The order is that of the shipped weights (data/token-weight-priors.json).
CLASSES = (
    "w_short",  # lower-case word of up to 4 letters, with the space before it
    "w_mid",  # of 5 to 7
    "w_long",  # of 8 and more
    "W_cap",  # capitalised word with the space before it
    "W_caps",  # the same in capitals
    "frag",  # word, or piece of one, without a space before it
    "Frag",  # capitalised or mixed
    "FRAG",  # in capitals
    "digit",
    "punct1",  # one character of punctuation, white space around it not counted
    "punct2",  # several
    "space",  # blanks without a line break
    "newline",  # blanks with one
    "latin_ext",  # Latin letters with accents
    "cjk",
    "other_u",  # other scripts, and tokens that are only part of a character
    "mixed",  # anything else: ".get", "(self", "_name"
)
NUMBER = len(CLASSES)

_INDEX = {name: index for index, name in enumerate(CLASSES)}
_EACH = tuple(range(NUMBER))
_CJK = ((0x2E80, 0xA4CF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))
_LATIN_END = 0x24F
_LATIN_ADDITIONAL = (0x1E00, 0x1EFF)


# A new text is asked for twice in a row: as a block of the prompt, and as a segment. Of longer ones little is the same.
_LATELY = 32
_LATELY_CHARACTERS = 1 << 15


def count_classes(text: str) -> tuple[int, ...]:
    """Return how many tokens of each class `text` has, in the order of `CLASSES`; their sum is its cl100k count."""
    return _count_lately(text) if len(text) <= _LATELY_CHARACTERS else _count(text)


@lru_cache(_LATELY)
def _count_lately(text: str) -> tuple[int, ...]:
    return _count(text)


def _count(text: str) -> tuple[int, ...]:
    table = _table()
    kinds = bytes([table[token] for token in encode(text)])
    return tuple(map(kinds.count, _EACH))


def classify(token: bytes) -> str:
    """Return the class of one vocabulary entry."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return "other_u"
    if text.isspace():
        return "newline" if "\n" in text or "\r" in text else "space"
    spaced, word = text.startswith(" "), text.removeprefix(" ")
    if word.isascii():
        return _ascii(text.strip(), word, spaced=spaced)
    if not any(character.isalpha() for character in word):
        return "other_u"
    letters = [ord(character) for character in word if not character.isascii()]
    if all(code <= _LATIN_END or _LATIN_ADDITIONAL[0] <= code <= _LATIN_ADDITIONAL[1] for code in letters):
        return "latin_ext"
    return "cjk" if all(any(low <= code <= high for low, high in _CJK) for code in letters) else "other_u"


def _ascii(stripped: str, word: str, *, spaced: bool) -> str:
    if word.isalpha():
        return _spaced_word(word) if spaced else _piece(word)
    if stripped.isdigit():
        return "digit"
    if not any(character.isalnum() for character in stripped):
        return "punct1" if len(stripped) == 1 else "punct2"
    return "mixed"


def _spaced_word(word: str) -> str:
    if word.islower():
        return "w_short" if len(word) <= 4 else "w_mid" if len(word) <= 7 else "w_long"
    return "W_caps" if word.isupper() and len(word) > 1 else "W_cap"


def _piece(word: str) -> str:
    if word.islower():
        return "frag"
    return "FRAG" if word.isupper() else "Frag"


@cache
def _table() -> bytes:
    """The class of each token by its rank; 0.1 s, once a process."""
    return bytes(_INDEX[classify(token)] for token in read_vocabulary())
