from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES, Gaussian
from ddrs.proof.certify import Claim, certify
from ddrs.proof.stopping import (
    AtRadii,
    Estimation,
    RadiusTolerance,
    attainable,
    stopping_rule,
)

ANY = RadiusTolerance(0.1)
BOUNDS = ("one-sided", "two-sided")


def look_times(n, rule):
    return Estimation(n, stopping=rule).times


# When it looks


def test_the_looks_of_a_hundred_thousand_votes():
    times = look_times(100_000, ANY)
    assert times[:4] == (100, 124, 155, 194)  # 100 000 (4/5)^k, rounded up
    assert times[-4:] == (51_200, 64_000, 80_000, 100_000)
    assert len(times) == 31 + 1


@pytest.mark.parametrize("n", [1, 99, 100, 124, 125, 126, 400, 20_000, 10**7, 3 * 10**9 + 1])
def test_looks_are_geometric_and_end_at_n(n):
    times = look_times(n, ANY)
    assert times[-1] == n
    assert times[0] == n or 100 <= times[0] < 126
    for one, next_ in pairwise(times):
        assert one == -(-4 * next_ // 5) or abs(one - 0.8 * next_) < 1
        assert one < next_


def test_without_a_stopping_rule_there_is_one_look():
    assert look_times(100_000, None) == (100_000,)


# The rules


def test_the_rules():
    assert stopping_rule(None, None) is None
    assert (
        stopping_rule([0.25, 1], None)
        == stopping_rule(np.array([0.25, 1.0]), None)
        == AtRadii((0.25, 1.0))
    )
    assert stopping_rule(None, 0.05) == RadiusTolerance(0.05)
    assert stopping_rule([0], None) == AtRadii((0.0,))


@pytest.mark.parametrize(
    ("at_radii", "tolerance"),
    [
        ([0.5], 0.1),
        ([], None),
        ([0.5, -0.1], None),
        ([0.5, float("nan")], None),
        ([float("inf")], None),
        (0.5, None),
        ("a", None),
        ([None], None),
        (None, 0.0),
        (None, -0.1),
        (None, float("nan")),
        (None, float("inf")),
        (None, "a"),
        (None, [0.1]),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(at_radii, tolerance):
    with pytest.raises(ConfigurationError, match=r"at_radii|radius_tolerance") as caught:
        stopping_rule(at_radii, tolerance)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("radii", "radius", "best", "settled"),
    [
        ((0.5,), 0.5, 0.9, True),  # the comparison of the certified accuracy: r itself counts
        ((0.5,), 0.4999, 0.5, False),
        ((0.5,), 0.4, 0.4999, True),
        ((0.25, 0.5, 1.0), 0.3, 0.6, False),
        ((0.25, 0.5, 1.0), 0.5, 0.9, True),
        ((0.25, 0.5, 1.0), 0.0, 0.2, True),
        ((0.0,), 0.0, 0.1, False),  # an abstention is not certified at radius 0
        ((0.0,), 0.0, 0.0, True),
        ((0.0,), 1e-300, 0.1, True),
    ],
)
def test_radii_are_settled_when_proved_or_out_of_reach(radii, radius, best, settled):
    assert AtRadii(radii).settled(radius, best) is settled


def test_a_tolerance_is_settled_when_little_can_be_added():
    assert RadiusTolerance(0.1).settled(0.5, 0.5999)
    assert not RadiusTolerance(0.1).settled(0.5, 0.6001)
    assert RadiusTolerance(0.1).settled(0.0, 0.0)  # nothing to be had: it abstains


def test_a_rule_says_when_it_stops():
    assert str(stopping_rule([0.25, 1], None)) == "until settled at r = 0.25, 1; low at other r"
    assert str(stopping_rule(None, 0.05)) == "until more votes could add less than 0.05"


# What more votes could prove


def test_attainable_is_the_last_look_s_radius_at_the_upper_bound():
    seen, n, count = 500, 10_000, 430
    claim = Claim(0, 0.0, 0.0, 1.0, count, seen - count)
    estimation = Estimation(n, stopping=ANY)
    hoped = np.ceil(n * stats.beta.ppf(0.99, count + 1, seen - count))  # Clopper-Pearson
    p_lower = stats.beta.ppf(0.001 / estimation.looks, hoped, n - hoped + 1)
    best = attainable(claim, seen, sigma=0.5, noise=Gaussian(), estimation=estimation)
    assert estimation.looks == 21
    assert best == pytest.approx(0.5 * stats.norm.ppf(p_lower), rel=1e-9)


def test_attainable_is_capped_by_the_votes_that_are_left():
    claim = Claim(0, 0.0, 0.0, 1.0, 90, 10)
    estimation = Estimation(104, stopping=ANY)
    p_lower = stats.beta.ppf(0.001 / estimation.looks, 94, 105 - 94)
    best = attainable(claim, 100, sigma=0.5, noise=Gaussian(), estimation=estimation)
    assert best == pytest.approx(0.5 * stats.norm.ppf(p_lower))


@settings(max_examples=200, deadline=None)
@given(
    counts=st.tuples(*[st.integers(0, 300)] * 3).filter(any),
    more=st.integers(0, 5000),
    noise=st.sampled_from([*NOISES.values()]),
    bound=st.sampled_from(BOUNDS),
    rule=st.sampled_from([None, ANY]),
)
def test_attainable_lies_between_the_radius_now_and_that_of_unanimous_votes(
    counts, more, noise, bound, rule
):
    seen = sum(counts)
    estimation = Estimation(seen + more, 0.01, bound, rule)
    options = {"sigma": 0.5, "noise": noise}
    claim = certify(np.array(counts), 0, confidence=estimation.confidence, **options)
    best = attainable(claim, seen, estimation=estimation, **options)
    unanimous = np.add(counts, [more, 0, 0])
    agreeing = certify(unanimous, 0, confidence=estimation.confidence, **options)
    assert claim.radius <= best <= agreeing.radius
    if more == 0:
        assert best == claim.radius


def test_two_sided_hopes_for_a_small_runner_up_too():
    # The class has 40 %; against a runner-up of 25 % it can win, against one of 39 % hardly.
    estimation = Estimation(5000, 0.01, "two-sided", ANY)
    options = {"sigma": 0.5, "noise": Gaussian()}
    claims = [
        certify(np.array([400, runner_up, 200]), 0, confidence=estimation.confidence, **options)
        for runner_up in (390, 250)
    ]
    near, far = (attainable(claim, 1000, estimation=estimation, **options) for claim in claims)
    assert 0 <= near < far


@pytest.mark.parametrize(
    ("n", "alpha", "bound"), [(0, 0.1, "one-sided"), (9, 1, "one-sided"), (9, 0.1, "normal")]
)
def test_an_estimation_that_can_never_work_is_refused(n, alpha, bound):
    with pytest.raises(ConfigurationError, match="must be"):
        Estimation(n, alpha, bound)


# Votes that can prove nothing


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("rule", [None, ANY])
@pytest.mark.parametrize("alpha", [0.9, 0.3, 0.05, 0.001, 1e-6, 1e-30, 1e-45])
def test_the_least_n_is_the_first_with_which_equal_votes_prove_a_radius(alpha, rule, bound):
    def proves(n):
        counts, estimation = np.array([n, 0, 0]), Estimation(n, alpha, bound, rule)
        options = {"sigma": 1.0, "noise": Gaussian(), "confidence": estimation.confidence}
        return certify(counts, 0, **options).radius > 0

    def refused(n):
        try:
            Estimation(n, alpha, bound, rule).check_possible()
        except ConfigurationError as error:
            return str(error)
        return None

    last = max((n for n in range(1, 200) if not proves(n)), default=0)
    for n in range(1, last + 30):
        assert (refused(n) is None) == proves(n)
    first = next(n for n in range(1, last + 2) if proves(n))
    if first > 1:
        assert refused(first - 1).endswith(f"give n of at least {first}")


def test_votes_that_no_float_can_count_are_refused():
    Estimation(2**53)
    with pytest.raises(ConfigurationError, match="at most"):
        Estimation(2**53 + 1)
