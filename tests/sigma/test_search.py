import numpy as np
import pytest
import torch
from scipy import stats

from classifiers import Ball, Collapsing, Recorder, Table
from ddrs.errors import ConfigurationError
from ddrs.noise import NOISES, Gaussian
from ddrs.sigma import SearchSigma
from ddrs.sigma.policy import estimated_radius
from ddrs.votes import Inputs, NoisyClassifier
from sigma.contract import INITIAL, PerInputContract, inputs_near_boundaries


class TestSearchSigma(PerInputContract):
    def policy(self):
        return SearchSigma(INITIAL, votes=400)


def search(model, x, policy, noise=None, seed=0):
    inputs = Inputs.of(x, seed)
    base = NoisyClassifier(model, model(x).shape[1], noise or Gaussian())
    selected = base.count_each(inputs, policy.initial, 100, "selection").argmax(axis=1)
    return selected, policy.choose(base, inputs, selected)


def test_the_grid_is_the_start_and_a_geometric_range():
    grid = SearchSigma(0.5, 0.1, 2.0).grid()
    assert grid[0] == 0.5
    assert grid[[1, -1]] == pytest.approx([0.1, 2.0])
    assert np.diff(np.log(grid[1:])) == pytest.approx(np.log(20) / 15)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("votes", [68, 100, 1600])
def test_the_budget_is_never_exceeded(noise, votes):
    model = Recorder(Table(8, 4))
    x = inputs_near_boundaries()
    base = NoisyClassifier(model, 4, noise)
    choice = SearchSigma(0.5, votes=votes).choose(base, Inputs.of(x, 0), np.zeros(6, int))
    assert (choice.votes <= votes).all()
    assert model.rows == choice.votes.sum()
    assert (choice.votes > votes / 2).all()  # and most of it is used


def test_by_its_own_estimate_it_never_ends_below_the_start():
    # All candidates of an input share their draws, so the estimates can be made again.
    x, policy = inputs_near_boundaries(), SearchSigma(0.5, votes=1600)
    selected, choice = search(Table(8, 4), x, policy)
    inputs, base = Inputs.of(x, 0), NoisyClassifier(Table(8, 4), 4, Gaussian())
    n = sum(1600 // 4 // group for group in (17, 9, 5, 3))
    assert len(set(choice.sigma)) > 2
    for row, (chosen, c) in enumerate(zip(choice.sigma, selected, strict=True)):
        one = inputs.take([row])
        start, end = (
            estimated_radius(
                base.noise, sigma, int(base.count_each(one, sigma, n, "search")[0, c]), n
            )
            for sigma in (policy.initial, chosen)
        )
        assert end > start or chosen == policy.initial


def test_it_finds_the_best_scale_at_the_centre_of_a_ball():
    # In d dimensions |e| follows a chi law, so the radius of each sigma is known; what the votes
    # of the last round can tell apart caps the probability.
    d, size, cap = 6, 2.0, 1 - 0.5 / (4000 // 4 * (1 / 17 + 1 / 9 + 1 / 5 + 1 / 3) + 1)

    def radius(sigma):
        return sigma * stats.norm.ppf(np.minimum(stats.chi.cdf(size / sigma, d), cap))

    best = radius(np.geomspace(0.05, 5, 400)).max()
    _, choice = search(Ball(size), torch.zeros(1, d), SearchSigma(0.2, 0.05, 5.0, votes=4000))
    assert radius(choice.sigma[0]) > 0.85 * best
    assert radius(0.2) < 0.7 * best
    assert radius(5.0) < 0


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


@pytest.mark.parametrize("votes", [0, 67, -5])
def test_fewer_votes_than_the_candidates_need_are_refused(votes):
    with pytest.raises(ConfigurationError, match="at least 68 votes"):
        SearchSigma(0.5, votes=votes)


def test_a_range_that_can_never_work_is_refused():
    with pytest.raises(ConfigurationError, match="sigma"):
        SearchSigma(0.5, low=0.6)
