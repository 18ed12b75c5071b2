import numpy as np
import pytest
import torch
from scipy import optimize, stats

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES, Gaussian
from ddrs.sigma.curve import fit_curve, soft_radii
from ddrs.sigma.search import GRID_SIGMAS, MARGIN, NEAR_SIGMAS, SearchSigma, nearest_good
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from sigma.contract import INITIAL, PerInputContract, inputs_near_boundaries
from support.classifiers import Ball, Collapsing, Recorder, Table


class TestSearchSigma(PerInputContract):
    def policy(self):
        return SearchSigma(INITIAL, votes=400)


def search(model, x, policy, noise=None, seed=0):
    inputs = Inputs.of(x, seed)
    base = NoisyClassifier(model, model(x).shape[1], noise or Gaussian())
    selected = base.count_each(inputs, policy.initial, 100, "selection").argmax(axis=1)
    return selected, policy.choose(base, inputs, selected)


def test_votes_and_choice_span_the_same_geometric_range():
    policy = SearchSigma(0.5, 0.1, 2.0)
    votes, (start, *fine) = policy.grid(), policy.finer_grid()
    assert start == 0.5
    assert votes[[0, -1]] == pytest.approx([0.1, 2.0])
    assert [fine[0], fine[-1]] == pytest.approx([0.1, 2.0])
    assert np.diff(np.log(votes)) == pytest.approx(np.log(20) / 15)
    assert np.diff(np.log(fine)) == pytest.approx(np.log(20) / 96)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("votes", [32, 100, 1600])
def test_the_budget_is_never_exceeded(noise, votes):
    model = Recorder(Table(8, 4))
    x = inputs_near_boundaries()
    base = NoisyClassifier(model, 4, noise)
    choice = SearchSigma(0.5, votes=votes).choose(base, Inputs.of(x, 0), np.zeros(6, int))
    assert (choice.votes <= votes).all()
    assert model.rows == choice.votes.sum()
    assert (choice.votes > votes - NEAR_SIGMAS).all()  # and all of it is used that divides evenly


def log_posterior(curve, features, votes, n, prior):
    z = features @ curve
    likelihood = votes @ stats.norm.logcdf(z) + (n - votes) @ stats.norm.logsf(z)
    return likelihood + stats.norm.logpdf(curve, scale=prior).sum()


@pytest.mark.parametrize("n", [1, 100, 100_000])
def test_the_fit_is_the_maximum_that_a_general_optimiser_finds(n):
    rng = np.random.default_rng(2)
    t = np.geomspace(0.25, 4, GRID_SIGMAS) * np.exp(rng.normal(scale=0.02, size=(7, 1)))
    features = np.stack([0.25 / t, np.ones_like(t), t / 4], axis=2)
    prior = np.array([10.0, 3.0, 1.0])
    p = np.vstack(
        [
            np.zeros(GRID_SIGMAS),
            np.ones(GRID_SIGMAS),
            rng.random((3, GRID_SIGMAS)),
            t[5:] < [[1], [2]],
        ]
    )
    cast = rng.integers(n, 2 * n, p.shape, endpoint=True)
    votes = rng.binomial(cast, p)
    fitted = fit_curve(features, votes, cast, prior)
    for curve, counts, some, own in zip(fitted, votes, cast, features, strict=True):
        best = optimize.minimize(
            lambda c, k=counts, m=some, f=own: -log_posterior(c, f, k, m, prior) / n,
            np.zeros(3),
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-14, "maxiter": 5000, "maxfev": 5000},
        )
        expected = stats.norm.cdf(own @ best.x)
        assert stats.norm.cdf(own @ curve) == pytest.approx(expected, abs=1e-4)


def test_many_votes_give_the_parabola_back():
    sigma = np.geomspace(0.1, 2.0, GRID_SIGMAS)
    features = np.stack([0.1 / sigma, np.ones(GRID_SIGMAS), sigma / 2.0], axis=1)
    radius = 0.3 + 0.2 * sigma - 0.25 * sigma**2
    votes = np.round(1e7 * stats.norm.cdf(radius / sigma)).astype(np.int64)
    n = np.full((1, GRID_SIGMAS), 10_000_000)
    curve = fit_curve(features[None], votes[None], n, np.full(3, 10.0))
    assert curve[0] == pytest.approx([0.3 / 0.1, 0.2, -0.25 * 2.0], abs=0.02)


def test_votes_that_no_parabola_explains_do_not_throw_the_fit_out_of_bounds():
    rng = np.random.default_rng(0)
    t = np.geomspace(0.25, 4, GRID_SIGMAS)
    features = np.stack([0.25 / t, np.ones(GRID_SIGMAS), t / 4], axis=1)
    phase = np.outer(rng.normal(size=2000), np.log(t))
    p = stats.norm.cdf(rng.normal(scale=5, size=(2000, 1)) * np.sin(20 * phase))
    with np.errstate(over="raise", invalid="raise"):
        curve = fit_curve(
            np.broadcast_to(features, (2000, GRID_SIGMAS, 3)),
            rng.binomial(1_000_000, p),
            np.full(p.shape, 1_000_000),
            np.full(3, 10.0),
        )
    assert np.isfinite(curve).all()


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_the_radii_compared_are_those_of_the_noise(noise):
    sigma, p = np.array([0.2, 0.5, 1.0]), np.array([[0.3, 0.5, 0.8], [0.9, 0.99, 0.9999]])
    expected = [[noise.radius(s, q, 1 - q) for s, q in zip(sigma, row, strict=True)] for row in p]
    assert soft_radii(noise, sigma, p) == pytest.approx(np.array(expected), rel=1e-6)


def test_the_nearest_of_those_that_are_good_is_taken():
    distance = np.array([0.0, 2.0, 1.0, 1.0, 2.0])
    almost, less = 1 - MARGIN / 2, 1 - 2 * MARGIN
    radii = [
        [less, less, 0.5, almost, 1.0],  # the nearest of two
        [almost, 1.0, 1.0, 1.0, 1.0],  # the start
        [less, 1.0, less, less, less],  # the only one
        [0.0, 0.0, 0.0, 0.0, 0.0],  # nothing to gain
    ]
    assert nearest_good(np.array(radii), distance).tolist() == [3, 0, 1, 0]


class Curves:
    """Stands in for a classifier: input i votes for class 0 with probability p[i](sigma)."""

    num_classes = 2
    noise = Gaussian()

    def __init__(self, sizes, dims, seed):
        self.sizes, self.dims = sizes, dims
        self.rng = np.random.default_rng(seed)
        self.stages = set()

    def p(self, rows, sigma):
        """In d dimensions |e| follows a chi law: the centre of a ball of that size."""
        return stats.chi.cdf(self.sizes[rows] / sigma, self.dims[rows])

    def radius(self, sigma, n, alpha=0.001):
        """What n votes certify on average, Clopper-Pearson, at one scale for each input."""
        count = np.floor(n * self.p(np.arange(len(self.sizes)), sigma))
        p_lower = stats.beta.ppf(alpha, np.maximum(count, 1), n - count + 1)
        return sigma * np.maximum(stats.norm.ppf(p_lower), 0)

    def count(self, inputs, requests):
        rows = np.array([request.row for request in requests])
        n = np.array([request.n for request in requests])
        sigma = np.array([request.sigma for request in requests])
        self.stages |= {request.stream.stage for request in requests if request.row == 0}
        first = self.rng.binomial(n, self.p(rows, sigma))
        return np.stack([first, n - first], axis=1)


@pytest.fixture(scope="module")
def balls():
    """300 inputs of 2 to 40 dimensions, whose best sigma lies around the start, 0.5."""
    rng = np.random.default_rng(7)
    dims = rng.integers(2, 41, size=300)
    curves = Curves(np.sqrt(dims) * 0.5 * np.exp(rng.normal(0.2, 0.3, size=300)), dims, seed=8)
    inputs = Inputs.of(torch.from_numpy(rng.normal(size=(300, 2))), seed=0)
    choice = SearchSigma(0.5).choose(curves, inputs, np.zeros(300, int))
    return curves, choice.sigma


def test_no_two_scales_share_their_draws(balls):
    curves, _ = balls
    assert len(curves.stages) == GRID_SIGMAS + NEAR_SIGMAS
    assert not curves.stages & {"selection", "estimation", "prediction"}


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_the_radius_is_near_the_best_and_seldom_below_that_of_the_start(balls, n):
    curves, sigma = balls
    grid = [curves.radius(np.full(300, s), n) for s in np.geomspace(0.125, 2, 200)]
    best, fixed, chosen = np.max(grid, axis=0), curves.radius(0.5, n), curves.radius(sigma, n)
    assert (chosen < 0.95 * fixed).mean() <= 0.02
    assert chosen.mean() > 0.95 * best.mean()
    assert fixed.mean() < 0.8 * best.mean()  # the start is far from it


def test_it_finds_the_best_scale_at_the_centre_of_a_ball():
    # So many votes at one scale tell a probability at most this far.
    d, size, cap = 6, 2.0, 1 - 0.5 / 4001

    def radius(sigma):
        return sigma * stats.norm.ppf(np.minimum(stats.chi.cdf(size / sigma, d), cap))

    best = radius(np.geomspace(0.05, 5, 400)).max()
    _, choice = search(Ball(size), torch.zeros(1, d), SearchSigma(0.2, 0.05, 5.0, votes=4000))
    assert radius(choice.sigma[0]) > 0.95 * best
    assert radius(0.2) < 0.75 * best
    assert radius(5.0) < 0


def test_a_curve_with_two_humps_is_followed_to_the_higher_one():
    class Humps(Curves):
        def p(self, rows, sigma):
            log = np.log(np.asarray(sigma))
            z = 1.2 + 1.6 * np.exp(-((log - np.log(0.9)) ** 2) / 0.1) - 0.4 * (log + 0.7) ** 2
            return stats.norm.cdf(z)

    curves = Humps(np.zeros(200), np.zeros(200), seed=3)
    inputs = Inputs.of(torch.zeros(200, 2) + torch.arange(200.0)[:, None], seed=0)
    choice = SearchSigma(0.5).choose(curves, inputs, np.zeros(200, int))
    grid = np.geomspace(0.125, 2, 400)
    best = (grid * stats.norm.ppf(curves.p(0, grid))).max()
    chosen = choice.sigma * stats.norm.ppf(curves.p(0, choice.sigma))
    assert (chosen > 0.95 * best).mean() > 0.95


def test_a_collapse_onto_another_class_is_not_followed():
    # Far above sigma = 0.6 almost every vote is for class 2: its radius there would be far larger
    # than that of class 0 anywhere.
    model = Collapsing(radius=2.0)
    x = torch.zeros(2, 6)
    x[1, 0] = 0.1
    selected, choice = search(model, x, SearchSigma(0.3, 0.1, 10.0, votes=1600))
    assert selected.tolist() == [0, 0]
    counts = NoisyClassifier(model, 3, Gaussian()).count_each(
        Inputs.of(x, 9), choice.sigma, 2000, "estimation"
    )
    assert counts.argmax(axis=1).tolist() == [0, 0]
    far = NoisyClassifier(model, 3, Gaussian()).count_each(Inputs.of(x, 9), 10.0, 2000, "far")
    assert (far[:, 2] > 1900).all()


@pytest.mark.parametrize("votes", [0, 31, -5])
def test_fewer_votes_than_scales_are_refused(votes):
    with pytest.raises(ConfigurationError, match="at least 32 votes"):
        SearchSigma(0.5, votes=votes)


def test_a_range_that_can_never_work_is_refused():
    with pytest.raises(ConfigurationError, match="sigma"):
        SearchSigma(0.5, low=0.6)
