"""Whole certifications with a stopping rule, beside those of a fixed number of votes."""

import numpy as np
import pytest
import torch

from ddrs import ABSTAIN, Gaussian, Memory, SmoothedClassifier, Uniform, recompute_radius
from ddrs.errors import ConfigurationError
from ddrs.proof.stopping import AtRadii, Estimation
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.search import SearchSigma
from support.classifiers import Halfspace, Recorder, Table

N = 5000
TIMES = Estimation(N, stopping=AtRadii((0.5,))).times
QUESTIONS = [{"at_radii": (0.1, 0.3)}, {"radius_tolerance": 0.1}]
NOISES = [Gaussian(), Uniform()]


def smoothed(model=None, classes=2, **options):
    model = Halfspace([1.0, 0.0]) if model is None else model
    return SmoothedClassifier(model, classes, **{"n": N, "n0": 20, "seed": 0, **options})


def at_distances(*distances):
    return torch.tensor([[distance, 0.3] for distance in distances])


def points(count=6):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("bound", ["one-sided", "two-sided"])
@pytest.mark.parametrize("noise", NOISES)
def test_radii_asked_for_are_answered_as_the_distance_says(noise, bound):
    # A half-space: the exact radius, l2 and l1, is the distance to the boundary.
    distances = torch.linspace(0.02, 0.48, 24)
    classifier = smoothed(noise=noise, bound=bound, sigma=0.5)
    certificates = classifier.certify(at_distances(*distances), at_radii=(0.1, 0.3))
    for distance, certificate in zip(distances.tolist(), certificates, strict=True):
        assert certificate.radius <= distance
        for r in (0.1, 0.3):
            if distance > r + 0.05:  # more than what 5000 votes leave open
                assert certificate.radius >= r
    assert sum(c.votes for c in certificates) < len(certificates) * classifier.cost / 2


@pytest.mark.parametrize("noise", NOISES)
def test_a_tolerance_bounds_what_is_missing(noise):
    distances = torch.linspace(0.02, 0.48, 24)
    classifier = smoothed(noise=noise, sigma=0.5)
    x = at_distances(*distances)
    fixed, short = classifier.certify(x), classifier.certify(x, radius_tolerance=0.1)
    for whole, part, distance in zip(fixed, short, distances.tolist(), strict=True):
        assert part.radius <= distance
        # 0.1, and what the share of alpha costs at the last look
        assert whole.radius - part.radius < 0.1 + 0.02
    assert sum(c.votes for c in short) < sum(c.votes for c in fixed) / 2


def test_an_input_that_cannot_be_certified_abstains_early():
    (certificate,) = smoothed(sigma=0.5).certify(at_distances(0.0), radius_tolerance=0.05)
    assert (certificate.prediction, certificate.radius) == (ABSTAIN, 0.0)
    assert certificate.n < N


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("bound", ["one-sided", "two-sided"])
@pytest.mark.parametrize("noise", NOISES)
def test_the_votes_are_the_first_of_those_of_a_fixed_number(noise, bound, question):
    x, model = points(), Table(8, 4)
    options = {"noise": noise, "sigma": 0.5, "bound": bound}
    for row, certificate in enumerate(smoothed(model, 4, **options).certify(x, **question)):
        fixed = smoothed(model, 4, n=certificate.n, **options).certify(x)[row]
        assert (certificate.count, certificate.runner_up) == (fixed.count, fixed.runner_up)
        assert (fixed.looks, certificate.looks) == (1, len(TIMES))
        assert certificate.n in TIMES
        assert certificate.radius == certificate.own_radius == recompute_radius(certificate)
        assert certificate.radius <= fixed.radius


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_do_not_depend_on_batches_order_or_company(question):
    x, model = points(), Table(8, 4)
    expected = smoothed(model, 4, sigma=0.5).certify(x, **question)
    assert len({certificate.n for certificate in expected}) > 2
    for size in (1, 7, 512):
        assert smoothed(model, 4, sigma=0.5, batch_size=size).certify(x, **question) == expected
    assert smoothed(model, 4, sigma=0.5).certify(x.flip(0), **question) == expected[::-1]
    alone = [
        smoothed(model, 4, sigma=0.5).certify(x[row : row + 1], **question) for row in range(6)
    ]
    assert [certificate for (certificate,) in alone] == expected


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "policy",
    [0.5, GradientSigma(0.5, steps=3), SearchSigma(0.5)],
    ids=lambda p: str(p)[:8],
)
def test_votes_are_those_that_were_cast(policy, question):
    model = Recorder(Table(8, 4))
    classifier = smoothed(model, 4, sigma=policy, batch_size=64)
    certificates = classifier.certify(points(), **question)
    assert sum(certificate.votes for certificate in certificates) == model.rows
    assert all(c.votes - c.n <= classifier.cost - N for c in certificates)
    assert sum(c.n for c in certificates) < 6 * N


def test_inputs_that_go_on_share_batches():
    model = Recorder(Table(8, 4))
    certificates = smoothed(model, 4, sigma=0.5, batch_size=64).certify(
        points(20), radius_tolerance=0.1
    )
    looked = TIMES.index(max(certificate.n for certificate in certificates)) + 1
    # at most one batch of each look is not full, and one of the selection
    assert sum(rows < 64 for rows in model.batches) <= looked + 1


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_memory_keeps_the_evidence(question):
    with Memory("memory://") as memory:
        classifier = smoothed(memory=memory, sigma=0.5, alpha=0.01)
        x = at_distances(0.45, 0.3, -0.4, 0.0)
        first = classifier.certify(x, **question)
        assert len(memory) == sum(c.prediction != ABSTAIN for c in first) >= 3
        assert classifier.certify(x[:3]) == first[:3]  # as they were stored, whatever is asked
        assert memory.audit().ok
    assert {certificate.looks for certificate in first} == {len(TIMES)}
    assert all(recompute_radius(c) == c.own_radius for c in first)


@pytest.mark.parametrize(
    "question",
    [
        {"at_radii": (0.5,), "radius_tolerance": 0.1},
        {"at_radii": ()},
        {"at_radii": (-0.1,)},
        {"at_radii": (float("nan"),)},
        {"at_radii": 0.5},
        {"radius_tolerance": 0.0},
        {"radius_tolerance": -1.0},
        {"radius_tolerance": float("nan")},
        {"radius_tolerance": "much"},
    ],
)
def test_what_is_no_question_is_refused_before_any_vote(question):
    model = Recorder(Halfspace([1.0, 0.0]))
    with pytest.raises(ConfigurationError) as caught:
        smoothed(model).certify(at_distances(0.5), **question)
    assert "\n" not in str(caught.value)
    assert model.rows == 0


def test_a_few_votes_are_looked_at_once():
    (certificate,) = smoothed(n=100).certify(at_distances(0.5), at_radii=np.array([0.25]))
    assert (certificate.n, certificate.looks) == (100, 1)
    assert [certificate] == smoothed(n=100).certify(at_distances(0.5))
