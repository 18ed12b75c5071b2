"""Exact binomial confidence bounds: counts in, probabilities out, rounded to the safe side.

All of them are Clopper-Pearson bounds, that is, quantiles of Beta distributions; asymptotic
intervals (normal, Goodman) do not hold at the confidence used here and have no place in a proof.
"""

from typing import Literal, get_args

import numpy as np
from scipy import special

from ddrs.errors import ConfigurationError

__all__ = [
    "Bound",
    "binomial_p_value",
    "check_bound",
    "lower_bound",
    "probability_bounds",
    "upper_bound",
]

Bound = Literal["one-sided", "two-sided"]

# SciPy's inverse of the incomplete beta function is accurate to about 1e-15 (the tests compare it
# with 50 digits up to n = 10^7); every bound gives up a thousand times as much.
SAFETY = 1e-12


def lower_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound: P(p < bound) <= alpha over the draw of `count`.

    Args:
        count: successes among `n` independent trials, each of unknown probability p.
        n: trials, at least 1.
        alpha: failure probability, strictly between 0 and 1.

    Raises:
        ConfigurationError: the arguments are out of range.
    """
    _check(count, n, alpha)
    if count == 0:
        return 0.0
    return float(special.betaincinv(count, n - count + 1, alpha)) * (1 - SAFETY)


def upper_bound(count: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson upper bound: P(p > bound) <= alpha over the draw of `count`.

    Arguments and errors are those of `lower_bound`.
    """
    _check(count, n, alpha)
    if count == n:
        return 1.0
    return min(1.0, float(special.betainccinv(count + 1, n - count, alpha)) * (1 + SAFETY))


def probability_bounds(
    count: int,
    runner_up: int,
    n: int,
    alpha: float,
    bound: Bound = "one-sided",
    looks: int = 1,
) -> tuple[float, float]:
    """(p_lower, p_upper): the selected class is at least, and any other class at most, so likely.

    One-sided (Cohen et al. 2019): p_lower at level alpha and p_upper = 1 - p_lower. Two-sided:
    both at alpha / 2, with p_upper the bound of the LARGEST other count or 1 - p_lower, whichever
    is less. The bound grows with the count and the largest count is at least the true runner-up's,
    so no correction for the number of classes is needed. Both require that the class was selected
    on other votes.

    Votes that could be looked at `looks` times, at numbers of votes fixed beforehand, have the pair
    of every look at level alpha / looks: by the union bound all of them then hold at once with
    probability at least 1 - alpha, so when to stop may depend on what was seen.

    Args:
        count: votes for the selected class.
        runner_up: largest number of votes for any other class.
        n: votes.
        alpha: failure probability of the pair, at all looks together.
        bound: `"one-sided"` or `"two-sided"`.
        looks: how often the votes could be looked at; 1 for a fixed sample.

    Raises:
        ConfigurationError: the arguments are out of range.
    """
    check_bound(bound)
    if not looks >= 1:
        raise ConfigurationError(f"looks must be at least 1, got {looks}")
    if runner_up < 0 or count + runner_up > n:
        raise ConfigurationError(
            f"votes {count} and {runner_up} for two classes cannot come from n = {n} votes"
        )
    level = alpha / looks
    if bound == "one-sided":
        p_lower = lower_bound(count, n, level)
        return p_lower, _complement(p_lower)
    p_lower = lower_bound(count, n, level / 2)
    return p_lower, min(_complement(p_lower), upper_bound(runner_up, n, level / 2))


def binomial_p_value(count: int, runner_up: int) -> float:
    """Two-sided p-value of `count` against `runner_up` under a fair coin (Hung & Fithian 2019)."""
    tail = special.bdtr(min(count, runner_up), count + runner_up, 0.5)
    return min(1.0, 2 * float(tail))  # a fair coin is symmetric: both tails are alike


def check_bound(bound: str) -> None:
    """Raise ConfigurationError unless `bound` names one of ours."""
    if bound not in get_args(Bound):
        raise ConfigurationError(f"bound must be one of {get_args(Bound)}, got {bound!r}")


def _complement(p: float) -> float:
    """1 - p, rounded up."""
    q = 1.0 - p
    return q if 1.0 - q == p else min(1.0, float(np.nextafter(q, 2.0)))


def _check(count: int, n: int, alpha: float) -> None:
    if n < 1:
        raise ConfigurationError(f"n must be at least 1 vote, got {n}")
    if not 0 <= count <= n:
        raise ConfigurationError(f"a count of {count} is not between 0 and n = {n}")
    if not 0 < alpha < 1:
        raise ConfigurationError(f"alpha must be strictly between 0 and 1, got {alpha}")
