"""Text out of nothing, the same every time: paragraphs and program listings for bodies of any size.

Apart so that benchmarks can make more of the same kind. It compresses about as well as real sessions do (zstd level 3
makes a quarter of it), which random letters would not.
"""

from __future__ import annotations

import random

_LETTERS = "babebicodadedofagagohainkalolamaminaneorpararesasetatiunvavezozu"
_SYLLABLES = [_LETTERS[i : i + 2] for i in range(0, len(_LETTERS), 2)]
_LINES = (
    "    {a}_{b} = self.{c}({d}, {n})",
    "    if {a}.{b} is None or {c} > {n}:",
    "        raise ValueError(f'{a} {b}: {{{c}}}')",
    "    for {a} in {b}.{c}():",
    "    return [{a} for {b} in {c} if {d} != {n}]",
    "def {a}_{b}({c}: int, {d}: str) -> None:",
    "    # {a} {b} {c} before {d}",
    "",
)


class Prose:
    """A source of words; the same seed gives the same words in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, and no secret
        self._words = ["".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 4))) for _ in range(300)]
        # Few words are frequent and many rare, as in language.
        self._weights = [1 / (rank + 1) for rank in range(len(self._words))]

    def word(self) -> str:
        """One word of lower-case letters."""
        return self._random.choices(self._words, self._weights)[0]

    def paragraph(self, size: int) -> str:
        """Sentences, `size` characters long."""
        words = self._random.choices(self._words, self._weights, k=size // 4 + 4)
        for start in range(0, len(words), 12):
            words[start] = words[start].capitalize()
            if start:
                words[start - 1] += "."
        return " ".join(words)[:size]

    def listing(self, size: int) -> str:
        """Numbered lines of a program, `size` characters long, as a file's content comes back from the Read tool."""
        lines: list[str] = []
        total = 0
        while total < size:
            a, b, c, d = self._random.choices(self._words, self._weights, k=4)
            template = self._random.choice(_LINES)
            lines.append(f"{len(lines) + 1}\t{template.format(a=a, b=b, c=c, d=d, n=self._random.randrange(100))}")
            total += len(lines[-1]) + 1
        return "\n".join(lines)[:size]
