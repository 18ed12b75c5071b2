"""`Routed` on classifiers whose answers are known in closed form."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from ddrs import ABSTAIN, Gaussian, Routed, Uniform
from ddrs.errors import ConfigurationError
from ddrs.proof.certify import proved_radius
from ddrs.votes.requests import Inputs
from support.classifiers import Halfspace

ALPHA, INPUTS = 0.3, 200


def inputs(count: int, place: float = 0.0) -> torch.Tensor:
    """Points that differ only where no classifier looks, so each has votes of its own."""
    x = torch.zeros(count, 2, dtype=torch.float64)
    x[:, 0], x[:, 1] = place, torch.arange(count)
    return x


def halfspace(distance: float) -> Halfspace:
    return Halfspace([1.0, 0.0], distance)


def routed(route: float, answer: float, **options) -> Routed:
    """The origin has cell 0 within `route`, and its class 0 within `answer`; cell 1 says 1."""
    cells = [(halfspace(answer), 0.5), (halfspace(-100.0), 0.25)]
    return Routed(halfspace(route), cells, 2, **options)


@pytest.mark.parametrize(
    ("bound", "question"),
    [
        ("one-sided", {}),
        ("two-sided", {}),
        ("one-sided", {"at_radii": (0.1, 0.21)}),
        ("two-sided", {"radius_tolerance": 0.15}),
    ],
)
@pytest.mark.parametrize(("route", "answer"), [(0.2, 0.2), (0.2, 9.0)])
def test_no_more_than_alpha_of_the_certificates_claim_too_much(
    bound, question, route, answer
) -> None:
    """Every point closer than 0.2 gets class 0, and none farther is sure to (exact distances).

    If route and class together are claimed too far with probability alpha, more than `limit` of the
    certificates are wrong with probability below 1e-6 (binomial).
    """
    method = routed(route, answer, n0=20, n=400, alpha=ALPHA, bound=bound, seed=1)
    found = method.certify(inputs(INPUTS), **question)
    limit = stats.binom.isf(1e-6, INPUTS, ALPHA)
    assert sum(c.radius > 0.2 or c.prediction == 1 for c in found) <= limit
    wrong = [
        c for c in found if proved_radius(c.parts[0]) > answer or proved_radius(c.parts[1]) > route
    ]
    assert len(wrong) <= limit  # both pieces hold together
    assert wrong or question  # alpha is spent, but for what looks take as a reserve
    assert sum(c.radius > 0 for c in found) > INPUTS / 4


@pytest.mark.parametrize(("route", "answer"), [(0.3, 0.9), (0.9, 0.3)])
@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_a_sure_certificate_is_just_below_the_lesser_distance(noise, route, answer) -> None:
    cells = [(halfspace(-100.0), 0.5), (halfspace(answer), 1.0)]
    router = Halfspace([-1.0, 0.0], -route)
    (one,) = Routed(router, cells, 2, noise=noise, n=100_000, seed=0).certify(inputs(1))
    assert (one.prediction, one.norm) == (0, noise.norm)
    assert 0.28 < one.radius < 0.3
    assert [(part.role, part.sigma, part.p0) for part in one.parts] == [
        ("answer", 1.0, 0.0),
        ("route", 1.0, 0.0),
    ]
    assert [part.alpha for part in one.parts] == [0.0005, 0.0005]


@pytest.mark.parametrize(("route", "answer"), [(0.0, 1.0), (1.0, 0.0)])
def test_it_abstains_where_route_or_class_is_not_proved(route, answer) -> None:
    method = routed(route, answer, n=2000, seed=0)
    (one,) = method.certify(inputs(1))
    assert (one.prediction, one.radius, one.outcome) == (ABSTAIN, 0.0, "abstained")
    assert method.predict(inputs(1)) == [ABSTAIN]


class Steps(nn.Module):
    """Piecewise constant in the first coordinate: class `labels[k]` between edges k - 1 and k."""

    def __init__(self, edges: np.ndarray, labels: np.ndarray, classes: int) -> None:
        super().__init__()
        self.register_buffer("edges", torch.as_tensor(edges))
        self.register_buffer("labels", torch.as_tensor(labels))
        self.classes = classes

    @classmethod
    def random(cls, rng: np.random.Generator, classes: int) -> "Steps":
        return cls(np.sort(rng.uniform(-2, 2, 5)), rng.integers(0, classes, 6), classes)

    def forward(self, x):
        place = torch.searchsorted(self.edges, x[:, 0].contiguous())
        return nn.functional.one_hot(self.labels[place], self.classes).to(x.dtype)

    def probabilities(self, x: np.ndarray, sigma: float, noise) -> np.ndarray:
        """`[classes, points]` under noise, exactly."""
        scale = {"l2": stats.norm(0, sigma), "l1": stats.uniform(-sigma, 2 * sigma)}[noise.norm]
        ends = scale.cdf(self.edges.numpy()[:, None] - x)
        masses = np.diff(ends, axis=0, prepend=0.0, append=1.0)
        labels = self.labels.numpy()
        return np.stack([masses[labels == c].sum(axis=0) for c in range(self.classes)])


OFFSETS = np.arange(0, 4, 0.008)


class Line:
    """A random routed classifier on a line, with its exact answers."""

    def __init__(self, seed: int, noise, scale: float) -> None:
        rng = np.random.default_rng(seed)
        self.noise, self.scale = noise, scale
        self.sigmas = (0.25, 0.5, 1.0)
        self.router = Steps.random(rng, 3)
        self.classifiers = [Steps.random(rng, 3) for _ in self.sigmas]

    def method(self, **options) -> Routed:
        cells = list(zip(self.classifiers, self.sigmas, strict=True))
        return Routed(self.router, cells, 3, noise=self.noise, router_sigma=self.scale, **options)

    def answers(self, x: np.ndarray) -> np.ndarray:
        """The class of each point."""
        cells = self.router.probabilities(x, self.scale, self.noise).argmax(axis=0)
        by_cell = [
            one.probabilities(x, sigma, self.noise).argmax(axis=0)
            for one, sigma in zip(self.classifiers, self.sigmas, strict=True)
        ]
        return np.choose(cells, by_cell)

    def distance(self, x: float) -> float:
        """How far the nearest point with another answer is, by brute force: at most this."""
        here = self.answers(np.array([x]))
        other = (self.answers(x + OFFSETS) != here) | (self.answers(x - OFFSETS) != here)
        return float(OFFSETS[other.argmax()]) if other.any() else float("inf")

    def radii(self, x: float) -> tuple[float, float]:
        """The radii that the exact probabilities of route and class give."""

        def radius(network: Steps, sigma: float) -> tuple[int, float]:
            p = network.probabilities(np.array([x]), sigma, self.noise)[:, 0]
            other, top = np.sort(p)[-2:]
            return int(p.argmax()), self.noise.radius(sigma, top, other)

        cell, route = radius(self.router, self.scale)
        return route, radius(self.classifiers[cell], self.sigmas[cell])[1]


@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
@pytest.mark.parametrize("scale", [0.15, 1.5])  # below every sigma of a cell, and above
def test_the_radius_is_never_more_than_the_distance_to_another_answer(noise, scale) -> None:
    radii, distances = [], []
    for seed in range(20):
        line = Line(seed, noise, scale)
        for x in (-1.1, 0.0, 0.7):
            radii.append(line.radii(x))
            distances.append(line.distance(x))
    route, answer = np.array(radii).T
    reached = np.minimum(route, answer)
    assert (reached <= distances).all()
    assert (reached > np.array(distances) - 0.05).sum() > 10  # often it could not be larger
    assert (answer > distances).any()  # what the classifier alone proves does not hold
    assert scale < 1 or (route > distances).any()


@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
@pytest.mark.parametrize("scale", [0.15, 1.5])
def test_no_certificate_reaches_a_point_with_another_answer(noise, scale) -> None:
    """Each certificate is wrong with probability below 1e-9, so none of them is."""
    sure = 0
    for seed in range(5):
        line = Line(seed, noise, scale)
        x = inputs(7)
        x[:, 0] = torch.linspace(-1.5, 1.5, 7)
        found = line.method(n0=50, n=2000, alpha=1e-9, seed=seed).certify(x)
        for place, one in zip(x[:, 0].tolist(), found, strict=True):
            if one.radius > 0:
                sure += 1
                assert one.prediction == line.answers(np.array([place]))[0]
                assert one.radius <= line.distance(place)
    assert sure > 5


def test_no_two_stages_share_a_stream(monkeypatch) -> None:
    made = []
    stream = Inputs.stream
    monkeypatch.setattr(
        Inputs, "stream", lambda self, row, stage: made.append(stage) or stream(self, row, stage)
    )
    routed(0.5, 0.5, n0=50, n=200, seed=0).certify(inputs(1))
    stages = [stage for stage in made if stage != "independence"]
    assert len(stages) == len(set(stages)) == 4
    assert not {"selection", "estimation", "prediction"} & set(stages)


def test_what_is_settled_stops_alone() -> None:
    (one,) = routed(2.0, 0.2, n0=200, n=100_000, seed=0).certify(inputs(1), at_radii=(0.17,))
    answer, route = one.parts
    assert route.n < answer.n / 5
    assert one.radius >= 0.17


def test_inputs_are_classified_by_the_cell_that_the_router_picks() -> None:
    method = routed(0.0, 100.0)
    assert method.classify(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist() == [0, 1]


def test_the_digest_is_that_of_router_and_cells() -> None:
    def digest(route=0.1, answers=(0.2, 0.3), sigmas=(0.25, 0.5), **options) -> str:
        models = [halfspace(answer) for answer in answers]
        return Routed(halfspace(route), list(zip(models, sigmas, strict=True)), 2, **options).digest

    assert digest() == digest(router_sigma=0.5, n=5000, seed=3)
    others = [
        digest(),
        digest(route=0.2),
        digest(answers=(0.3, 0.2)),
        digest(sigmas=(0.5, 0.25)),
        digest(router_sigma=0.6),
        digest(identity="mine"),
    ]
    assert len(set(others)) == len(others)


def test_what_can_never_work_is_refused() -> None:
    network = halfspace(0.1)
    for router, cells, options, message in (
        (network, [(network, 0.5)], {}, "two cells or more"),
        (network, [(network, 0.5), (network, 0.5)], {}, "give each cell once"),
        (network, [(network, 0.5), (network, np.inf)], {}, "positive and finite"),
        (network, [(network, 0.5), (network, 0.4)], {"router_sigma": 0.0}, "positive and finite"),
        (network, [network, network], {}, "cells must be"),
        (network, [(network, 0.5), (network, 0.4)], {"n0": 0}, "at least 1 vote"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            Routed(router, cells, 2, **options)
    with pytest.raises(ConfigurationError, match="can certify nothing"):
        routed(1.0, 1.0, n=10).certify(inputs(1))  # enough at alpha, not at half of it
