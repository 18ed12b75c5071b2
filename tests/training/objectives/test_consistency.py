import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES
from ddrs.training.objectives.consistency import Consistency, consistency_loss
from support.classifiers import Table
from support.objective_reference import batch, check_value_and_slopes, drawn, sigmas
from training.objectives.contract import ObjectiveContract


class TestConsistency(ObjectiveContract):
    def objective(self):
        return Consistency(m=3)


def reference(network, x, y, sigma, draws, weight, eta):
    p = softmax([network.scores(x + sigma * e) for e in draws], axis=1)
    mean = p.mean(axis=0)
    agreement = np.mean([rel_entr(mean, each).sum() for each in p])
    return -np.log(p[:, y]).mean() + weight * agreement + eta * entropy(mean)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 2, 4), (3, 1, 3, 3)], ids=str)
@pytest.mark.parametrize("m", [2, 5])
def test_value_and_gradient_are_those_of_the_formula(noise, shape, m):
    model, (x, y), sigma = Table(math.prod(shape[1:]), 4), batch(shape, 4), sigmas(shape[0])
    draws = drawn(noise, (shape[0], m, *shape[1:]), 1)
    objective = Consistency(m, weight=20.0, eta=0.5)
    loss, scores = objective(model, x, y, sigma, noise, torch.Generator().manual_seed(1))

    def examples(network):
        return [
            reference(network, x[row].numpy(), y[row], sigma[row].item(), draws[row].numpy(),
                      20.0, 0.5)
            for row in range(shape[0])
        ]  # fmt: skip

    check_value_and_slopes(model, loss, examples)
    first = x + sigma.view(-1, *[1] * (x.ndim - 1)) * draws[:, 0]
    assert torch.allclose(scores, model(first), rtol=1e-12)


def test_copies_that_agree_cost_no_divergence_and_certain_ones_no_entropy():
    alike = torch.tensor([[[2.0, 0.0, 1.0]] * 2, [[400.0, 0.0, 0.0]] * 2])
    y = torch.tensor([0, 0])
    plain, weighted = (consistency_loss(alike, y, weight=w, eta=0.0) for w in (0.0, 20.0))
    assert torch.allclose(plain, weighted, rtol=1e-6)
    uncertain, certain = consistency_loss(alike, y, weight=0.0, eta=1.0) - plain
    assert uncertain > 0.5
    assert certain == 0
    apart = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]])
    assert consistency_loss(apart, y[:1], weight=1.0, eta=0.0) > (
        consistency_loss(apart, y[:1], weight=0.0, eta=0.0) + 0.5
    )


@pytest.mark.parametrize(
    "options",
    [{"m": 1}, {"weight": -1.0}, {"weight": float("inf")}, {"eta": float("nan")}, {"eta": -0.1}],
)
def test_hyperparameters_that_can_never_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        Consistency(**options)


def test_it_costs_a_pass_for_each_copy():
    assert Consistency(m=4).passes == 4
    assert Consistency(m=4).at_epoch(3) == Consistency(m=4)
