import mpmath
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ddrs.errors import ConfigurationError
from ddrs.proof.bounds import (
    Confidence,
    binomial_p_value,
    clopper_pearson,
    least_counts,
    lower_bound,
    upper_bound,
)

ALPHAS = (0.2, 0.05, 0.001, 1e-10)
GRID = [
    (count, n, alpha)
    for n in (1, 2, 10, 100, 1000)
    for count in sorted({0, 1, n // 3, n // 2, n - 1, n})
    for alpha in ALPHAS
]
MILLIONS = 10**7
LARGE = [
    (count, MILLIONS, alpha)
    for count in (1, 1234, 5_000_500, 9_876_543, MILLIONS - 1, MILLIONS)
    for alpha in (0.001, 1e-6)
]
TIGHT = mpmath.mpf(10) ** -9  # how far from the exact bound a returned one may lie, relatively


def upper_tail(count, n, p):
    """P(X >= count) for X ~ Binomial(n, p), 60 digits, by summing terms outwards from the first.

    Meant for count at or above the mode, where the terms fall. Independent of SciPy and of any
    incomplete beta function.
    """
    with mpmath.workdps(60):
        p = mpmath.mpf(p)
        log = mpmath.loggamma
        first = mpmath.exp(
            log(n + 1) - log(count + 1) - log(n - count + 1)
            + count * mpmath.log(p)
            + (n - count) * mpmath.log1p(-p)
        )  # fmt: skip
        odds, term, total = p / (1 - p), first, first
        for k in range(count, n):
            term *= odds * (n - k) / (k + 1)
            total += term
            if term < total * mpmath.mpf(10) ** -45:
                break
        return total


def assert_is_lower_bound(bound, count, n, alpha):
    """`bound` is at most the exact p with P(X >= count | p) = alpha, and hardly less."""
    if count == 0:
        assert bound == 0.0
        return
    with mpmath.workdps(60):
        assert upper_tail(count, n, bound) <= mpmath.mpf(alpha)
        assert upper_tail(count, n, mpmath.mpf(bound) * (1 + TIGHT)) > mpmath.mpf(alpha)


@pytest.mark.parametrize(("count", "n", "alpha"), GRID + LARGE)
def test_the_lower_bound_solves_the_binomial_tail_on_the_safe_side(count, n, alpha):
    assert_is_lower_bound(lower_bound(count, n, alpha), count, n, alpha)


@pytest.mark.parametrize(("count", "n", "alpha"), GRID)
def test_the_upper_bound_solves_the_binomial_tail_on_the_safe_side(count, n, alpha):
    bound = upper_bound(count, n, alpha)
    if count == n:
        assert bound == 1.0
        return
    with mpmath.workdps(60):
        # P(X <= count | p) = P(n - X >= n - count | 1 - p)
        if bound < 1:
            assert upper_tail(n - count, n, 1 - mpmath.mpf(bound)) <= mpmath.mpf(alpha)
        looser = 1 - mpmath.mpf(bound) * (1 - TIGHT)
        assert upper_tail(n - count, n, looser) > mpmath.mpf(alpha)


@pytest.mark.parametrize("count", [0, 1, 1234, 5_000_500, 9_876_543, MILLIONS - 1])
def test_the_upper_bound_of_ten_million_votes(count):
    bound = upper_bound(count, MILLIONS, 0.001)
    with mpmath.workdps(60):
        tail = upper_tail(MILLIONS - count, MILLIONS, 1 - mpmath.mpf(bound))
        tighter = 1 - mpmath.mpf(bound) * (1 - TIGHT)
        assert tail <= mpmath.mpf(0.001) < upper_tail(MILLIONS - count, MILLIONS, tighter)


@pytest.mark.parametrize(("count", "n", "alpha"), GRID + LARGE)
def test_bounds_equal_statsmodels(count, n, alpha):
    low, high = proportion_confint(count, n, alpha=2 * alpha, method="beta")
    assert lower_bound(count, n, alpha) == pytest.approx(low, rel=1e-9)
    assert upper_bound(count, n, alpha) == pytest.approx(high, rel=1e-9)


@pytest.mark.parametrize("n", [1, 100, 100_000, MILLIONS])
def test_unanimous_votes_have_a_closed_form(n):
    with mpmath.workdps(50):
        exact = mpmath.root(mpmath.mpf(0.001), n)
        assert exact * (1 - TIGHT) < mpmath.mpf(lower_bound(n, n, 0.001)) <= exact
        assert exact * (1 - TIGHT) < 1 - mpmath.mpf(upper_bound(0, n, 0.001)) <= exact


def test_bounds_grow_with_the_count_and_close_in_with_n():
    lowers = [lower_bound(count, 50, 0.01) for count in range(51)]
    uppers = [upper_bound(count, 50, 0.01) for count in range(51)]
    assert lowers == sorted(lowers)
    assert uppers == sorted(uppers)
    widths = [upper_bound(n // 2, n, 0.01) - lower_bound(n // 2, n, 0.01) for n in (10, 100, 1000)]
    assert widths == sorted(widths, reverse=True)


# Coverage. Each count below is compared with the binomial quantile that correct code exceeds with
# probability 1e-6; the seeds are fixed.
FALSE_ALARM = 1e-6


@pytest.mark.parametrize("p", [0.03, 0.5, 0.9, 0.997])
@pytest.mark.parametrize("alpha", [0.2, 0.05])
def test_one_sided_bounds_fail_at_most_as_often_as_stated(p, alpha):
    trials, n = 20_000, 60
    lower = np.array([lower_bound(count, n, alpha) for count in range(n + 1)])
    upper = np.array([upper_bound(count, n, alpha) for count in range(n + 1)])
    counts = np.random.default_rng(0).binomial(n, p, size=trials)
    allowed = stats.binom.isf(FALSE_ALARM, trials, alpha)
    assert (lower[counts] > p).sum() <= allowed
    assert (upper[counts] < p).sum() <= allowed
    # and exactly as often as the binomial distribution says
    for wrong in (lower > p, upper < p):
        rate = stats.binom.pmf(np.arange(n + 1), n, p)[wrong].sum()
        low, high = stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], trials, rate)
        assert low <= wrong[counts].sum() <= high


@pytest.mark.parametrize(
    "p",
    [
        (0.5, 0.3, 0.2),
        (0.6, 0.2, 0.2),
        (0.4, 0.2, 0.2, 0.2),
        (0.34, 0.33, 0.33),
        (0.9, 0.05, 0.05),
        (0.28, *[0.08] * 9),
    ],
)
@pytest.mark.parametrize("n", [30, 200])
def test_the_two_sided_pair_fails_at_most_as_often_as_stated(p, n):
    alpha, trials = 0.2, 5000
    confidence = Confidence(alpha, "two-sided")
    counts = np.random.default_rng(1).multinomial(n, p, size=trials)
    failures = 0
    for row in counts:
        p_lower, p_upper = confidence.interval(row[0], row[1:].max(), n)
        failures += p_lower > p[0] or p_upper < max(p[1:])
    assert failures <= stats.binom.isf(FALSE_ALARM, trials, alpha)


@pytest.mark.parametrize("count", [0, 3, 50, 90, 100])
def test_the_one_sided_pair_is_the_bound_and_its_complement(count):
    p_lower, p_upper = Confidence(0.01).interval(count, (100 - count) // 2, 100)
    assert p_lower == lower_bound(count, 100, 0.01)
    with mpmath.workdps(50):
        excess = mpmath.mpf(p_lower) + mpmath.mpf(p_upper) - 1
        assert 0 <= excess < mpmath.mpf(2) ** -52


def test_the_two_sided_pair_takes_the_smaller_upper_bound():
    p_lower, p_upper = Confidence(0.01, "two-sided").interval(80, 5, 100)
    assert (p_lower, p_upper) == (lower_bound(80, 100, 0.005), upper_bound(5, 100, 0.005))
    p_lower, p_upper = Confidence(0.01, "two-sided").interval(80, 20, 100)
    assert p_upper == pytest.approx(1 - lower_bound(80, 100, 0.005), rel=1e-15)
    assert p_upper <= upper_bound(20, 100, 0.005)


@pytest.mark.parametrize("looks", [1, 3, 32])
def test_looks_share_alpha(looks):
    assert Confidence(0.01, "one-sided", looks).interval(80, 5, 100)[0] == lower_bound(
        80, 100, 0.01 / looks
    )
    assert Confidence(0.01, "two-sided", looks).interval(80, 5, 100) == (
        lower_bound(80, 100, 0.01 / looks / 2),
        upper_bound(5, 100, 0.01 / looks / 2),
    )


@pytest.mark.parametrize("looks", [0, -1, 0.5, float("nan")])
def test_fewer_than_one_look_is_refused(looks):
    with pytest.raises(ConfigurationError, match="looks must be at least 1"):
        Confidence(0.01, "one-sided", looks)


@pytest.mark.parametrize(("count", "runner_up"), [(10, 0), (70, 30), (55, 45), (0, 0), (99_000, 9)])
def test_the_p_value_is_scipy_s_and_symmetric(count, runner_up):
    expected = (
        stats.binomtest(count, count + runner_up, 0.5, alternative="two-sided").pvalue
        if count + runner_up
        else 1.0
    )
    assert binomial_p_value(count, runner_up) == pytest.approx(expected, rel=1e-9)
    assert binomial_p_value(runner_up, count) == pytest.approx(expected)


def test_the_p_value_sums_the_fair_coin_s_tails():
    exact = sum(mpmath.binomial(20, k) for k in range(15, 21)) / mpmath.mpf(2) ** 19
    assert binomial_p_value(15, 5) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("bound", [lower_bound, upper_bound])
@pytest.mark.parametrize(
    ("count", "n", "alpha", "message"),
    [
        (0, 0, 0.1, "n must be at least 1"),
        (-1, 5, 0.1, "count of -1"),
        (6, 5, 0.1, "count of 6"),
        (1, 5, 0.0, "alpha"),
        (1, 5, 1.0, "alpha"),
        (1, 5, float("nan"), "alpha"),
    ],
)
def test_arguments_out_of_range_are_refused(bound, count, n, alpha, message):
    with pytest.raises(ConfigurationError, match=message):
        bound(count, n, alpha)


@pytest.mark.parametrize(("count", "runner_up"), [(60, 41), (10, -1)])
def test_votes_that_cannot_be_are_refused(count, runner_up):
    with pytest.raises(ConfigurationError, match="cannot come from n = 100"):
        Confidence(0.01, "two-sided").interval(count, runner_up, 100)


def test_an_unknown_bound_is_refused():
    with pytest.raises(ConfigurationError, match="one-sided"):
        Confidence(0.01, "normal")


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_an_alpha_that_is_no_probability_is_refused(alpha):
    with pytest.raises(ConfigurationError, match="alpha must be strictly between 0 and 1"):
        Confidence(alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 10, 1000])
def test_the_count_follows_from_its_bound(n, alpha):
    counts = np.arange(n + 1)
    bounds, _ = clopper_pearson(counts, n, alpha)

    np.testing.assert_array_equal(least_counts(bounds, n, alpha), counts)
    np.testing.assert_array_equal(least_counts(np.nextafter(bounds[1:], 0), n, alpha), counts[1:])
    np.testing.assert_array_equal(least_counts(np.nextafter(bounds, 1), n, alpha), counts + 1)


def test_the_least_count_is_a_quantile_of_the_binomial():
    # a count is too small for p exactly while P(X >= count) at p exceeds alpha
    p = np.linspace(0.5, 0.9999, 50)
    expected = stats.binom.isf(ALPHAS[2], 100_000, p) + 1
    np.testing.assert_array_equal(least_counts(p, 100_000, ALPHAS[2]), expected)


@pytest.mark.parametrize(("n", "alpha"), [(0, 0.1), (2**53, 0.1), (10, 0.0), (10, float("nan"))])
def test_a_count_of_no_trials_or_at_no_level_is_refused(n, alpha):
    with pytest.raises(ConfigurationError):
        least_counts(0.5, n, alpha)
