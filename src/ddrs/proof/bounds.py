"""Exact binomial confidence bounds: counts in, probabilities out, rounded to the safe side.

All of them are Clopper-Pearson bounds, that is, quantiles of Beta distributions; asymptotic
intervals (normal, Goodman) do not hold at the confidence used here and have no place in a proof.

SciPy is imported when a bound is asked for: commands name a bound without it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import SAFETY

__all__ = [
    "Bound",
    "Confidence",
    "binomial_p_value",
    "clopper_pearson",
    "least_counts",
    "lower_bound",
    "upper_bound",
]

Float64s = npt.NDArray[np.float64]

MOST_TRIALS = 2**53  # counts beyond are no floats any more

Bound = Literal["one-sided", "two-sided"]


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a pair of probability bounds is, and how the pair is formed.

    One-sided (Cohen et al. 2019): p_lower at level alpha and p_upper = 1 - p_lower. Two-sided:
    both at alpha / 2, with p_upper the bound of the LARGEST other count or 1 - p_lower, whichever
    is less. The bound grows with the count and the largest count is at least the true runner-up's,
    so no correction for the number of classes is needed. Both require that the class was selected
    on other votes.

    Votes that could be looked at `looks` times, at numbers of votes fixed beforehand, have the pair
    of every look at level alpha / looks: by the union bound all of them then hold at once with
    probability at least 1 - alpha, so when to stop may depend on what was seen.

    Args:
        alpha: failure probability of the pair, at all looks together.
        bound: `"one-sided"` or `"two-sided"`.
        looks: how often the votes could be looked at; 1 for a fixed sample.

    Raises:
        ConfigurationError: a value that can never work.
    """

    alpha: float = 0.001
    bound: Bound = "one-sided"
    looks: int = 1

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        if self.bound not in get_args(Bound):
            raise ConfigurationError(f"bound must be one of {get_args(Bound)}, got {self.bound!r}")
        if not self.looks >= 1:
            raise ConfigurationError(f"looks must be at least 1, got {self.looks}")

    def interval(self, count: int, runner_up: int, n: int) -> tuple[float, float]:
        """(p_lower, p_upper): the selected class is at least, any other at most, so probable.

        Args:
            count: votes for the selected class.
            runner_up: largest number of votes for any other class.
            n: votes.

        Raises:
            ConfigurationError: the counts cannot come from n votes.
        """
        if runner_up < 0 or count + runner_up > n:
            raise ConfigurationError(
                f"votes {count} and {runner_up} for two classes cannot come from n = {n} votes"
            )
        level = self.alpha / self.looks
        if self.bound == "one-sided":
            p_lower = lower_bound(count, n, level)
            return p_lower, _complement(p_lower)
        p_lower = lower_bound(count, n, level / 2)
        return p_lower, min(_complement(p_lower), upper_bound(runner_up, n, level / 2))


def clopper_pearson(count: npt.ArrayLike, n: int, tail: float) -> tuple[Float64s, Float64s]:
    """Both Clopper-Pearson bounds, elementwise: quantiles of Beta distributions, nothing given up.

    Args:
        count: successes among `n` trials, of any shape.
        n: trials.
        tail: probability beyond each of the bounds.

    Returns:
        Lower and upper bound in the shape of `count`.
    """
    from scipy.special import betainccinv, betaincinv

    count = np.asarray(count)
    # The quantiles have no value at the ends, where the bounds are 0 and 1: the `where` inside
    # keeps their arguments legal there, the one outside puts the end itself.
    low = betaincinv(np.where(count == 0, 1, count), n - count + 1, tail)
    high = betainccinv(count + 1, np.where(count == n, 1, n - count), tail)
    return np.where(count == 0, 0.0, low), np.where(count == n, 1.0, high)


def lower_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound: P(p < bound) <= alpha over the draw of `count`.

    Args:
        count: successes among `n` independent trials, each of unknown probability p.
        n: trials, at least 1.
        alpha: failure probability, strictly between 0 and 1.

    Raises:
        ConfigurationError: the arguments are out of range.
    """
    _check_count(count, n)
    _check_alpha(alpha)
    low, _ = clopper_pearson(count, n, alpha)
    return float(low) * (1 - SAFETY)


def upper_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson upper bound: P(p > bound) <= alpha over the draw of `count`.

    Arguments and errors are those of `lower_bound`.
    """
    _check_count(count, n)
    _check_alpha(alpha)
    _, high = clopper_pearson(count, n, alpha)
    return min(1.0, float(high) * (1 + SAFETY))


def least_counts(p_lower: npt.ArrayLike, n: int, alpha: float) -> npt.NDArray[np.int64]:
    """The fewest successes whose lower bound at level alpha reaches `p_lower`, elementwise.

    It is the inverse of Clopper and Pearson's bound: what a published bound says of its count.

    Args:
        p_lower: bounds, of any shape.
        n: trials, at least 1.
        alpha: failure probability, strictly between 0 and 1.

    Returns:
        The counts; n + 1 where no count reaches the bound.

    Raises:
        ConfigurationError: the arguments are out of range.
    """
    _check_count(0, n)
    _check_alpha(alpha)
    if n >= MOST_TRIALS:
        raise ConfigurationError(f"n must be less than {MOST_TRIALS} votes, got {n}")
    wanted = np.asarray(p_lower, dtype=np.float64)
    low = np.full(wanted.shape, -1, dtype=np.int64)  # the bound of `low` is below what is wanted
    high = np.full(wanted.shape, n + 1, dtype=np.int64)
    while np.any(open_ := high - low > 1):
        middle = np.where(open_, (low + high) // 2, 0)
        reached = clopper_pearson(middle, n, alpha)[0] >= wanted
        high = np.where(open_ & reached, middle, high)
        low = np.where(open_ & ~reached, middle, low)
    return high


def binomial_p_value(count: int, runner_up: int) -> float:
    """Two-sided p-value of `count` against `runner_up` under a fair coin (Hung & Fithian 2019)."""
    from scipy.special import bdtr

    tail = bdtr(min(count, runner_up), count + runner_up, 0.5)
    return min(1.0, 2 * float(tail))  # a fair coin is symmetric: both tails are equal


def _complement(p: float) -> float:
    """1 - p, rounded up."""
    q = 1.0 - p
    return q if 1.0 - q == p else min(1.0, float(np.nextafter(q, 2.0)))


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ConfigurationError(f"alpha must be strictly between 0 and 1, got {alpha}")


def _check_count(count: int, n: int) -> None:
    if n < 1:
        raise ConfigurationError(f"n must be at least 1 vote, got {n}")
    if not 0 <= count <= n:
        raise ConfigurationError(f"a count of {count} is not between 0 and n = {n}")
