"""What a few ratings are worth: an average drawn towards "no opinion", and how far it may be off.

Apart because it is arithmetic and nothing else. An average of three ratings of 1.0 is 1.0, and says little; to rank by
averages is to rank by luck. So each source starts with `PRIOR_RATINGS` imagined ratings spread evenly over the scale
(mean 0, variance 1/3, the least said about a value in [-1, 1]), and what people said moves it from there. `low` is the
end of the interval to rank by: three perfect ratings have -0.09, three hundred that average 0.2 have 0.14 or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

PRIOR_RATINGS = 5  # as strong as five real ones: more would bury a source that ten people agree about
_PRIOR_SQUARE = 1 / 3
_Z = 1.96  # 95 %, normal approximation


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The shrunken mean of ratings, the ends of its 95 % interval, and how many ratings stand behind it."""

    rating: float
    low: float
    high: float
    count: float  # a sum of shares, when ratings were weighed by them


def estimate(*, count: float, total: float, squares: float) -> Estimate:
    """Estimate from the number of ratings in [-1, 1], their sum and the sum of their squares; weighted ones alike."""
    n = count + PRIOR_RATINGS
    mean = total / n
    variance = max(0.0, (squares + PRIOR_RATINGS * _PRIOR_SQUARE) / n - mean * mean)
    reach = _Z * sqrt(variance / n)
    return Estimate(rating=mean, low=max(-1.0, mean - reach), high=min(1.0, mean + reach), count=count)
