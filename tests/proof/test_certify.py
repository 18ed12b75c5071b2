import dataclasses

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from ddrs.errors import ConfigurationError, InputError
from ddrs.noise.distributions import NOISES, Gaussian, Uniform
from ddrs.proof.bounds import Confidence, lower_bound
from ddrs.proof.certificate import ABSTAIN
from ddrs.proof.certify import certify, predict, proved_radius, recompute_radius
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from proof.test_certificate import EXAMPLE
from support.classifiers import Halfspace

FALSE_ALARM = 1e-6  # how often a correct implementation would fail a simulation; seeds are fixed


def claim(counts, selected, *, sigma=0.5, noise=None, alpha=0.001, bound="one-sided", looks=1):
    return certify(
        np.array(counts),
        selected,
        sigma=sigma,
        noise=noise or Gaussian(),
        confidence=Confidence(alpha, bound, looks),
    )


def test_the_published_certificate_of_unanimous_votes():
    # Cohen et al.: with all of n = 100 000 votes equal the radius cannot exceed 3.81 sigma.
    exact = 0.5 * stats.norm.ppf(0.001 ** (1 / 100_000))
    result = claim([0, 100_000, 0], 1)
    assert result.prediction == 1
    assert result.radius == pytest.approx(exact, rel=1e-8)
    assert result.radius <= exact
    assert result.radius / 0.5 == pytest.approx(3.81, abs=0.005)


def test_counts_are_kept_and_the_radius_is_that_of_the_bounds():
    result = claim([7, 900, 60, 33], 1, alpha=0.01)
    assert (result.count, result.runner_up) == (900, 60)
    low = lower_bound(900, 1000, 0.01)
    assert result.p_lower == low
    assert result.radius == pytest.approx(0.5 * stats.norm.ppf(low), rel=1e-10)


def test_each_of_several_looks_has_its_share_of_alpha():
    result = claim([7, 900, 60, 33], 1, alpha=0.01, looks=20)
    assert result.p_lower == lower_bound(900, 1000, 0.01 / 20)
    assert result.radius < claim([7, 900, 60, 33], 1, alpha=0.01).radius


@pytest.mark.parametrize("selected", [0, 1])
def test_an_even_vote_is_no_proof(selected):
    result = claim([500, 500], selected)
    assert (result.prediction, result.radius) == (ABSTAIN, 0.0)


def test_the_selected_class_is_certified_and_never_the_winner():
    result = claim([100, 900], 0)
    assert (result.prediction, result.count, result.runner_up) == (ABSTAIN, 100, 900)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_two_sided_radius_is_below_its_exact_value(noise):
    with mpmath.workdps(50):
        for row in ([600, 200, 200], [450, 200, 200, 150], [990, 10, 0], [400, *[60] * 10]):
            result = claim(row, 0, noise=noise, alpha=0.05, bound="two-sided")
            p_lower, p_upper = Confidence(0.05, "two-sided").interval(row[0], max(row[1:]), 1000)
            if noise.norm == "l1":
                exact = mpmath.mpf(0.5) * (mpmath.mpf(p_lower) - mpmath.mpf(p_upper))
            else:
                erf = mpmath.erfinv(2 * mpmath.mpf(p_lower) - 1)
                exact = mpmath.mpf(0.25) * mpmath.sqrt(2)
                exact *= erf - mpmath.erfinv(2 * mpmath.mpf(p_upper) - 1)
            assert result.prediction == 0
            assert result.radius <= exact
            assert float(exact - result.radius) < 1e-11


def test_two_sided_certifies_a_plurality_that_one_sided_cannot():
    row = [450, 200, 200, 150]
    assert claim(row, 0).prediction == ABSTAIN
    assert claim(row, 0, bound="two-sided").radius > 0


@pytest.mark.parametrize("bound", ["one-sided", "two-sided"])
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_anyone_can_recompute_the_radius(noise, bound):
    for looks, row in enumerate(([990, 10, 0], [600, 300, 100], [300, 300, 400]), start=1):
        result = claim(row, 0, noise=noise, bound=bound, looks=looks)
        record = dataclasses.replace(
            EXAMPLE,
            sigma=0.5, norm=noise.norm, bound=bound, count=result.count, looks=looks,
            runner_up=result.runner_up, n=1000, alpha=0.001, own_radius=result.radius,
        )  # fmt: skip
        assert recompute_radius(record) == record.own_radius
        assert recompute_radius(dataclasses.replace(record, radius=9.0)) == record.own_radius


def test_a_record_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="cannot come from"):
        recompute_radius(dataclasses.replace(EXAMPLE, runner_up=50))
    with pytest.raises(ConfigurationError, match="looks"):
        recompute_radius(dataclasses.replace(EXAMPLE, looks=0))
    with pytest.raises(ConfigurationError, match="linf"):
        recompute_radius(dataclasses.replace(EXAMPLE, norm="linf"))


# Closed form: what is certified against what is true.


def votes_beside_the_boundary(noise, model, distance, n, trials, sigma):
    """Estimation votes of `trials` inputs, all of them at `distance` from the boundary."""
    features = len(model.weight)
    rng = np.random.default_rng(0)
    unit = model.weight.detach().numpy() / np.linalg.norm(model.weight.detach().numpy())
    along = rng.normal(size=(trials, features))
    along -= np.outer(along @ unit, unit)
    start = -float(model.bias.detach()) / np.linalg.norm(model.weight.detach().numpy())
    x = torch.from_numpy(along + (start + distance) * unit)
    assert model.distance(x).numpy() == pytest.approx(distance, abs=1e-9)
    base = NoisyClassifier(model, 2, noise)
    return base.count_each(Inputs.of(x, seed=0), sigma, n, "estimation")


OBLIQUE = Halfspace([0.3, -1.0, 0.5, 2.0, -0.7, 0.1, 0.9, -1.4], bias=0.4)
AXIS = Halfspace([1.0, *[0.0] * 7])
CASES = [
    (Gaussian(), OBLIQUE, 0.3, stats.norm.cdf(0.3 / 0.5)),
    (Gaussian(), OBLIQUE, 0.02, stats.norm.cdf(0.02 / 0.5)),
    (Uniform(), AXIS, 0.3, (1 + 0.3 / 0.5) / 2),
]


@pytest.mark.parametrize(("noise", "model", "distance", "p"), CASES)
@pytest.mark.parametrize("bound", ["one-sided", "two-sided"])
def test_radii_exceed_the_distance_to_the_boundary_at_most_as_often_as_stated(
    noise, model, distance, p, bound
):
    alpha, n, trials, sigma = 0.2, 100, 2000, 0.5
    counts = votes_beside_the_boundary(noise, model, distance, n, trials, sigma)

    def exceeds(count):
        result = claim([count, n - count], 0, sigma=sigma, noise=noise, alpha=alpha, bound=bound)
        return result.radius > distance

    violations = sum(exceeds(count) for count in counts[:, 0])
    assert violations <= stats.binom.isf(FALSE_ALARM, trials, alpha)
    # The distribution of the count is known, so the exact rate is too: a loop whose noise had
    # another scale or whose votes were not independent would miss it.
    wrong = np.array([exceeds(count) for count in range(n + 1)])
    rate = stats.binom.pmf(np.arange(n + 1), n, p)[wrong].sum()
    low, high = stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], trials, rate)
    assert 0 < low <= violations <= high


@pytest.mark.parametrize(("noise", "model", "distance", "p"), CASES[::2])
def test_radii_approach_the_distance_to_the_boundary(noise, model, distance, p):
    share = []
    for n in (100, 10_000, 400_000):
        (counts,) = votes_beside_the_boundary(noise, model, distance, n, 1, 0.5)
        share.append(claim(counts, 0, noise=noise).radius / distance)
    assert share == sorted(share)
    assert 0.98 < share[-1] <= 1


# PREDICT


def test_predict_abstains_as_scipy_s_binomial_test_says():
    for top in range(50, 101):
        for rest in (0, 100 - top):
            other = 100 - top - rest
            row = np.array([other, rest, top])
            if row.argmax() != 2:
                continue
            p_value = stats.binomtest(top, top + max(other, rest), 0.5).pvalue
            assert predict(row, alpha=0.05) == (2 if p_value <= 0.05 else ABSTAIN)


def test_predict_on_no_and_on_even_votes():
    assert predict(np.array([0, 0]), alpha=0.5) == ABSTAIN
    assert predict(np.array([50, 50]), alpha=0.5) == ABSTAIN
    assert predict(np.array([100, 0]), alpha=0.001) == 0


def test_predict_needs_two_classes():
    with pytest.raises(InputError, match="two classes"):
        predict(np.array([5]), alpha=0.1)


@pytest.mark.parametrize("p", [(0.5, 0.5), (0.51, 0.49), (0.36, 0.34, 0.3), (0.25,) * 4])
def test_predict_is_wrong_at_most_as_often_as_stated(p):
    # With tied classes any answer but class 0 counts as wrong: the worst case of the guarantee.
    alpha, trials = 0.2, 5000
    drawn = np.random.default_rng(0).multinomial(40, p, size=trials)
    rows, which = np.unique(drawn, axis=0, return_inverse=True)
    answers = np.array([predict(row, alpha=alpha) for row in rows])[which.ravel()]
    assert ((answers != ABSTAIN) & (answers != 0)).sum() <= stats.binom.isf(
        FALSE_ALARM, trials, alpha
    )
    assert (answers != ABSTAIN).any()


def test_several_pieces_of_evidence_prove_the_least_of_their_radii():
    (piece,) = EXAMPLE.parts
    radius = recompute_radius(EXAMPLE)
    weaker = dataclasses.replace(piece, count=70, runner_up=20, sigma=0.5)
    stronger = dataclasses.replace(piece, sigma=2.0)
    least = proved_radius(weaker)
    assert 0 < least < radius == proved_radius(piece)
    assert recompute_radius(dataclasses.replace(EXAMPLE, further=(stronger,))) == radius
    both = dataclasses.replace(EXAMPLE, further=(stronger, weaker))
    assert recompute_radius(both) == least
    assert both.parts == (piece, stronger, weaker)
