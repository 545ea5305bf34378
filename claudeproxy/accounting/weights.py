"""One model's token weights: what a cl100k token of each class, and each piece of structure, costs in its tokens.

Apart because it is the whole of the learning: everything else in the ledger is sums that are known. A bill gives one
equation for each group of new blocks (the classes in them times the weights are the tokens billed), and the weights are
the ridge least squares solution of all equations so far, towards a prior and not below zero.

    minimise  sum over groups (x.w - tokens)^2 / variance  +  (w - prior)' P (w - prior),   w >= 0

The prior is the shipped weights of a tokenizer family. P lets all weights move together by a common factor (tokenizers
differ by a scale first) and each by itself a little. Both families are tried while bills are few: the one that explains
them better stays, so a model that is not what its name says, or has none that is known, is put right by its first bill.

Never sees text, and forgets nothing: its memory is one matrix.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from claudeproxy.accounting.classes import CLASSES
from claudeproxy.accounting.features import FEATURES, NUMBER, STRUCTURE
from claudeproxy.accounting.linear import Matrix, dot, solve_nonnegative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAMILIES = ("old", "new")

# The spread of the prior. Shipped weights come from published counts, whose scale differs between texts by this much.
SCALE_SD = 0.2
CLASS_SD = 0.2  # of a class's weight, relative
# Tokens for each piece of structure, and how far that may be wrong. Anthropic documents 313 to 346 tokens of system
# prompt for tools with the models of family "old"; the rest was seen to be like this in three renderings.
STRUCTURE_PRIOR: Mapping[str, tuple[float, float]] = {
    "preamble": (340.0, 100.0),
    "message": (3.5, 0.7),
    "tool": (65.0, 35.0),
    "property": (8.0, 5.0),
    "call": (33.0, 5.0),
    "parameter": (3.5, 3.0),
    "result": (17.0, 4.0),
    "block": (0.5, 1.0),
}
# Noise of an equation: blocks of the same classes still differ by this much, whole groups by a token or two.
BLOCK_SD = 0.04
GROUP_VARIANCE = 2.0

STAGES = (16, 64)  # equations after which early divisions are made again; later ones are for good
UNDECIDED = 10  # equations before a family is settled
GROSS = 0.5  # a bill this far from the prediction is a mismatch (another prompt than the body shows), not a lesson
GROSS_UNTAUGHT = 3.0  # the same before there were bills: any tokenizer is within a factor of this
GROSS_TOKENS = 64
_FEW = 3
_MEMORY = 0.95  # how fast old errors fade from `error`
_INITIAL_ERROR = 0.2  # what texts of one kind are off by with the shipped weights (published counts, p5 to p95: 18 %)
_INITIAL_TOKENS = 4_000.0


class TokenWeights:
    """The weights of one model. Not thread-safe."""

    def __init__(self, family: str = "new") -> None:
        self.family = family
        self.equations = 0
        self.mismatches = 0
        self._normal: Matrix = [[0.0] * NUMBER for _ in range(NUMBER)]
        self._right = [0.0] * NUMBER
        self._squares = 0.0
        self._error = [_INITIAL_ERROR * _INITIAL_TOKENS, _INITIAL_TOKENS]
        self._solution = prior(family)
        self._taught = False  # there were lessons since the solution was made

    @property
    def values(self) -> tuple[float, ...]:
        """The weights, in the order of `FEATURES`; solved when first asked for after a lesson."""
        if self._taught:
            self._solution, self._taught = self._solve(), False
        return self._solution

    @property
    def error(self) -> float:
        """The current relative error of a size made from weights alone: lately billed groups against predictions."""
        return self._error[0] / self._error[1]

    @property
    def stage(self) -> int:
        """How far the learning is: 0 to ``len(STAGES)``."""
        return bisect_right(STAGES, self.equations)

    def size(self, counts: Sequence[int]) -> float:
        """Return the tokens that something with these counts is expected to have."""
        return dot(counts, self.values)

    def learn(self, counts: Sequence[float], tokens: float, squares: float) -> bool:
        """Take one equation: a group with `counts` was billed `tokens`. `squares` is the sum of its blocks' sizes^2.

        Returns False for a gross mismatch, which teaches nothing.
        """
        expected = dot(counts, self._solution)  # several lessons of one bill are judged by the same weights
        wrong = abs(expected - tokens)
        if tokens <= 0 or wrong > GROSS_TOKENS + self._gross() * min(tokens, expected):
            self.mismatches += 1
            return False
        self._error[0] = _MEMORY * self._error[0] + (1 - _MEMORY) * wrong
        self._error[1] = _MEMORY * self._error[1] + (1 - _MEMORY) * tokens
        weight = 1 / (GROUP_VARIANCE + BLOCK_SD**2 * squares)
        present = [(index, count) for index, count in enumerate(counts) if count]
        for i, count in present:
            row, scaled = self._normal[i], weight * count
            for j, other in present:
                row[j] += scaled * other
            self._right[i] += scaled * tokens
        self._squares += weight * tokens * tokens
        self.equations += 1
        self._taught = True
        return True

    def to_state(self) -> dict[str, object]:
        """Return what was learned as plain JSON values."""
        return {
            "features": list(FEATURES),
            "family": self.family,
            "equations": self.equations,
            "mismatches": self.mismatches,
            "normal": [row[: i + 1] for i, row in enumerate(self._normal)],
            "right": list(self._right),
            "squares": self._squares,
            "error": list(self._error),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, object]) -> TokenWeights:
        """Make weights from `to_state`. State with other features (an older version's) raises ValueError."""
        if state.get("features") != list(FEATURES):
            raise ValueError("the weights were learned with other features: rebuild them from the captures")
        self = cls(str(state["family"]))
        self.equations = int(str(state["equations"]))
        self.mismatches = int(str(state["mismatches"]))
        for i, row in enumerate(_rows(state["normal"])):
            for j, value in enumerate(row):
                self._normal[i][j] = self._normal[j][i] = value
        self._right, self._error = _rows([state["right"], state["error"]])
        self._squares = float(str(state["squares"]))
        self._taught = True
        return self

    def _gross(self) -> float:
        return GROSS_UNTAUGHT if self.equations < _FEW else GROSS

    def _solve(self) -> tuple[float, ...]:
        solution, cost = self._towards(self.family)
        if self.equations <= UNDECIDED:
            for family in FAMILIES:
                if family != self.family and (other := self._towards(family))[1] < cost:
                    self.family, (solution, cost) = family, other
        return tuple(solution)

    def _towards(self, family: str) -> tuple[list[float], float]:
        """Return the solution with this family's prior, and what it leaves unexplained."""
        precision, pulled, constant = _penalty(family)
        matrix = [list(map(float.__add__, a, b)) for a, b in zip(self._normal, precision, strict=True)]
        right = list(map(float.__add__, self._right, pulled))
        solution = solve_nonnegative(matrix, right)
        cost = sum(dot(row, solution) * value for row, value in zip(matrix, solution, strict=True))
        return solution, cost - 2 * dot(right, solution) + constant + self._squares


@cache
def prior(family: str) -> tuple[float, ...]:
    """Return the shipped weights of a family, in the order of `FEATURES`."""
    data = json.loads(files("claudeproxy.accounting").joinpath("data", "token-weight-priors.json").read_text("utf-8"))
    shipped = dict(zip(data["classes"], data[family]["w"], strict=True))
    return (*(STRUCTURE_PRIOR[name][0] for name in STRUCTURE), *(float(shipped[name]) for name in CLASSES))


@cache
def _penalty(family: str) -> tuple[Matrix, list[float], float]:
    """Return the prior's precision P, P times prior, and prior' P prior.

    The covariance is diagonal plus one direction (the common scale); its inverse is Sherman and Morrison's formula.
    """
    means = prior(family)
    spreads = [STRUCTURE_PRIOR[name][1] for name in STRUCTURE] + [CLASS_SD * mean for mean in means[len(STRUCTURE) :]]
    diagonal = [1 / spread**2 for spread in spreads]
    direction = [a * b for a, b in zip(diagonal, means, strict=True)]
    shrink = SCALE_SD**2 / (1 + SCALE_SD**2 * dot(direction, means))
    precision = [[-shrink * a * b for b in direction] for a in direction]
    for i, value in enumerate(diagonal):
        precision[i][i] += value
    pulled = [dot(row, means) for row in precision]
    return precision, pulled, dot(pulled, means)


def _rows(value: object) -> list[list[float]]:
    assert isinstance(value, list)
    return [[float(number) for number in row] for row in value]
