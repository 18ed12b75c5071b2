import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.proof.bounds import Confidence, lower_bound
from ddrs.proof.certify import certify
from ddrs.proof.stopping import (
    AtRadii,
    Estimation,
    RadiusTolerance,
)
from ddrs.smoothing.estimation import estimate
from ddrs.votes.requests import Inputs

FALSE_ALARM = 1e-6  # how often a correct implementation would fail a simulation; seeds are fixed
ANY = RadiusTolerance(0.1)
BOUNDS = ("one-sided", "two-sided")


class Dice:
    """Stands in for a noisy classifier: the votes at input i are drawn with probabilities p[i]."""

    def __init__(self, p, noise=None, seed=0):
        self.p = np.asarray(p)
        self.num_classes = self.p.shape[1]
        self.noise = noise or Gaussian()
        self.rng = np.random.default_rng(seed)
        self.calls = []

    def count(self, inputs, requests):
        self.calls.append([(request.row, request.n) for request in requests])
        return np.array([self.rng.multinomial(r.n, self.p[r.row]) for r in requests])

    def estimate(self, rule, *, n, sigma=0.25, alpha=0.001, bound="one-sided"):
        rows = len(self.p)
        digests = tuple(hashlib.sha256(str(row).encode()).hexdigest() for row in range(rows))
        inputs = Inputs(torch.zeros(rows, 1), 0, digests)
        sigmas, selected = np.full(rows, sigma), np.zeros(rows, np.int64)
        return estimate(self, inputs, sigmas, selected, Estimation(n, alpha, bound, rule))


def look_times(n, rule):
    return Estimation(n, stopping=rule).times


def proved(counts, *, sigma, noise, alpha, bound, looks=1):
    confidence = Confidence(alpha, bound, looks)
    return certify(counts, 0, sigma=sigma, noise=noise, confidence=confidence)


# How it estimates


def test_a_fixed_number_of_votes_is_one_call():
    dice = Dice([[0.9, 0.1], [0.5, 0.5]])
    assert dice.estimate(None, n=1000).sum(axis=1).tolist() == [1000, 1000]
    assert dice.calls == [[(0, 1000), (1, 1000)]]


def test_only_inputs_that_are_not_settled_go_on_together():
    # At r = sigma: certain, just about provable with all votes, and lost.
    q = stats.norm.cdf(1.0) + 3.5 * np.sqrt(0.14 / 5000)
    dice = Dice([[1, 0], [q, 1 - q], [0.2, 0.8]])
    counts = dice.estimate(AtRadii((0.25,)), n=5000)
    times = look_times(5000, ANY)
    first, seen, last = counts.sum(axis=1).tolist()
    assert first == last == times[0]
    assert seen > 3000
    calls = 1 + times.index(seen)
    assert [[row for row, _ in call] for call in dice.calls] == [[0, 1, 2]] + [[1]] * (calls - 1)
    assert [call[-1][1] for call in dice.calls] == np.diff((0, *times)).tolist()[:calls]


def test_a_radius_that_unanimous_votes_could_not_prove_is_not_waited_for():
    (counts,) = Dice([[1, 0]]).estimate(AtRadii((1.0,)), n=100_000)  # 4 sigma; the cap is 3.7
    assert counts.sum() == 100


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_settled_answers_are_those_of_all_votes(noise, bound):
    # Inputs well away from the radii: a few per cent of the votes answer as all of them do.
    n, radii = 100_000, (0.1, 0.2)
    p = np.array([[q, 0.9 - 0.9 * q, 0.1 - 0.1 * q] for q in (0.3, 0.6, 0.75, 0.95, 0.999)])
    few = Dice(p, noise).estimate(AtRadii(radii), n=n, bound=bound)
    assert few.sum() < 0.05 * len(p) * n
    options = {"sigma": 0.25, "noise": noise, "alpha": 0.001, "bound": bound}
    looks = len(look_times(n, ANY))
    for counts, expected in zip(few, np.round(p * n).astype(int), strict=True):
        now = proved(counts, **options, looks=looks).radius
        then = proved(expected, **options).radius
        assert [now >= r for r in radii] == [then >= r for r in radii]


@pytest.mark.parametrize("tolerance", [0.02, 0.05, 0.2])
def test_the_radius_is_within_the_tolerance_of_the_last_look_s(tolerance):
    # Each stop is judged on the expected votes of the last look. By chance, or because p was at
    # the edge of what is plausible, more can be missing: rarely (here never by a half more).
    p = np.linspace(0.4, 1, 61)
    counts = Dice(np.stack([p, 1 - p], axis=1)).estimate(RadiusTolerance(tolerance), n=20_000)
    looks = len(look_times(20_000, ANY))
    options = {"sigma": 0.25, "noise": Gaussian(), "alpha": 0.001, "bound": "one-sided"}
    now = np.array([proved(row, **options, looks=looks).radius for row in counts])
    last = np.array(
        [proved(np.array([c, 20_000 - c]), **options, looks=looks).radius
         for c in np.round(p * 20_000).astype(int)]
    )  # fmt: skip
    missing = last - now
    assert missing.max() < 1.5 * tolerance
    assert np.mean(missing >= tolerance) <= 2 / 61
    assert counts.sum() < 0.6 * 61 * 20_000


# Coverage, stopping rule included. Votes are drawn directly; alpha is large so that errors show.


@dataclass(frozen=True)
class Lucky:
    """Stops as soon as the radius is larger than the truth: the rule with the most errors."""

    truth: float

    def settled(self, radius, attainable):
        return radius > self.truth

    def __str__(self):
        return "lucky"


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("radius", "rule"),
    [
        (0.245, AtRadii((0.1, 0.25, 0.3))),  # just below, at and above a radius asked for
        (0.25, AtRadii((0.1, 0.25, 0.3))),
        (0.26, AtRadii((0.1, 0.25, 0.3))),
        (0.245, RadiusTolerance(0.08)),
        (0.245, Lucky(0.245)),
        (0.02, AtRadii((0.0,))),
        (0.02, Lucky(0.02)),
        (0.5, RadiusTolerance(0.1)),
        (0.5, Lucky(0.5)),
    ],
    ids=str,
)
def test_radii_exceed_the_truth_at_most_as_often_as_stated(radius, rule, bound):
    trials, alpha, sigma, n = 1500, 0.2, 0.25, 1000
    p = stats.norm.cdf(radius / sigma)
    dice = Dice(np.tile([p, 1 - p], (trials, 1)))
    counts = dice.estimate(rule, n=n, sigma=sigma, alpha=alpha, bound=bound)
    assert len(np.unique(counts.sum(axis=1))) > 1  # it did stop
    options = {"sigma": sigma, "noise": Gaussian(), "alpha": alpha, "bound": bound}
    looks = len(look_times(n, rule))
    violations = sum(proved(row, **options, looks=looks).radius > radius for row in counts)
    assert violations <= stats.binom.isf(FALSE_ALARM, trials, alpha)


def test_several_classes_are_covered_too():
    trials, alpha = 1500, 0.2
    p = np.array([0.36, 0.34, 0.3])  # the selected class wins, hardly
    counts = Dice(np.tile(p, (trials, 1))).estimate(
        RadiusTolerance(0.02), n=1000, alpha=alpha, bound="two-sided"
    )
    failures = 0
    for row in counts:
        confidence = Confidence(alpha, "two-sided", len(look_times(1000, ANY)))
        p_lower, p_upper = confidence.interval(row[0], row[1:].max(), row.sum())
        failures += p_lower > p[0] or p_upper < max(p[1:])
    assert failures <= stats.binom.isf(FALSE_ALARM, trials, alpha)


@pytest.mark.parametrize("p", [0.5, 0.8, 0.95, 0.99])
def test_the_bounds_of_all_looks_hold_together(p):
    # Then they hold whatever the rule that stops.
    trials, alpha, n = 50_000, 0.2, 2000
    times = look_times(n, ANY)
    rng = np.random.default_rng(0)
    counts = np.zeros(trials, np.int64)
    wrong, alone = np.zeros(trials, bool), np.zeros(trials, bool)
    for before, time in pairwise((0, *times)):
        counts += rng.binomial(time - before, p, size=trials)
        seen, place = np.unique(counts, return_inverse=True)
        confidence = Confidence(alpha, looks=len(times))
        split = [confidence.interval(c, 0, time)[0] for c in seen.tolist()]
        wrong |= (np.array(split) > p)[place]
        alone |= (np.array([lower_bound(c, time, alpha) for c in seen.tolist()]) > p)[place]
    assert wrong.sum() <= stats.binom.isf(FALSE_ALARM, trials, alpha)
    assert alone.sum() > stats.binom.isf(FALSE_ALARM, trials, alpha)  # unsplit, they do not
