import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES, Gaussian
from ddrs.training.objectives.macer import Macer, macer_loss, robustness_loss
from ddrs.training.objectives.noisy import smoothed_loss
from support import objective_reference as reference
from support.classifiers import Table
from support.objective_reference import batch, check_value_and_slopes, drawn, sigmas
from training.objectives.contract import ObjectiveContract


class TestMacer(ObjectiveContract):
    def objective(self):
        return Macer(k=4)


def labels(model, x, sigma, draws, beta, right):
    """Labels for which the first `right` examples are classified correctly, and no others."""
    noisy = x.unsqueeze(1) + sigma.view(-1, *[1] * x.ndim) * draws
    scores = model(noisy.flatten(0, 1)).detach().unflatten(0, draws.shape[:2])
    q = (beta * scores).softmax(-1).mean(1)
    return torch.where(torch.arange(len(x)) < right, q.argmax(1), q.argmin(1))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 2, 4), (3, 1, 3, 3)], ids=str)
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("right", [0, 1, 6])
def test_value_and_gradient_are_those_of_the_formula(noise, shape, k, right):
    options = {"beta": 1.0, "gamma": 6.0, "weight": 12.0}
    model, (x, _), sigma = Table(math.prod(shape[1:]), 4), batch(shape, 4), sigmas(shape[0])
    draws = drawn(noise, (shape[0], k, *shape[1:]), 1)
    y = labels(model, x, sigma, draws, options["beta"], right)
    objective = Macer(k=k, **options)
    loss, scores = objective(model, x, y, sigma, noise, torch.Generator().manual_seed(1))

    def examples(network):
        return [
            reference.macer(
                network, x[row].numpy(), y[row], sigma[row].item(), draws[row].numpy(),
                noise.name, **options,
            )
            for row in range(shape[0])
        ]  # fmt: skip

    check_value_and_slopes(model, loss, examples)
    without = Macer(k=k, **options | {"weight": 0.0})
    alone, _ = without(model, x, y, sigma, noise, torch.Generator().manual_seed(1))
    assert (loss > alone) if right else (loss == alone)
    first = x + sigma.view(-1, *[1] * (x.ndim - 1)) * draws[:, 0]
    assert torch.allclose(scores, model(first), rtol=1e-12)


def test_an_example_counts_up_to_the_gap_gamma():
    # Two classes and one copy: q = sigmoid(beta z) and the gap is 2 Phi^-1(q).
    z = torch.arange(-20, 61, dtype=torch.float64) / 10
    scores = torch.stack([z, torch.zeros_like(z)], dim=1).unsqueeze(1)
    y, sigma = torch.zeros(81, dtype=torch.int64), torch.full((81,), 0.5, dtype=torch.float64)
    loss = robustness_loss(scores, y, sigma, Gaussian(), beta=1.5, gamma=3.0)
    for value, score in zip(loss.tolist(), z.tolist(), strict=True):
        gap = reference.gap(softmax([1.5 * score, 0.0]), 0, "gaussian")
        expected = 0.25 * (3 - gap) if 0 < gap <= 3 else 0.0
        assert value == pytest.approx(expected, rel=1e-9)
    assert loss[:21].eq(0).all()  # wrong, or undecided at z = 0
    assert loss[-1] == 0  # robust enough
    assert (loss[21:37] > 0).all()


def test_none_correct_leaves_the_classification_loss_alone():
    scores = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    scores.requires_grad_()
    y = scores.detach().softmax(-1).mean(1).argmin(1)
    options = {"beta": 1.0, "gamma": 8.0, "weight": 12.0}
    loss = macer_loss(scores, y, torch.ones(5), Gaussian(), **options)
    assert torch.equal(loss, smoothed_loss(scores, y))
    (slope,) = torch.autograd.grad(loss.sum(), scores, retain_graph=True)
    (alone,) = torch.autograd.grad(smoothed_loss(scores, y).sum(), scores)
    assert torch.equal(slope, alone)


def test_certain_examples_have_no_robustness_loss_and_finite_gradients():
    scores = torch.tensor([[[300.0, 0.0, 0.0]], [[40.0, 0.0, 30.0]], [[0.4, 0.0, 0.0]]])
    scores.requires_grad_()
    y = torch.zeros(3, dtype=torch.int64)
    loss = robustness_loss(scores, y, torch.ones(3), Gaussian(), beta=16.0, gamma=8.0)
    loss.sum().backward()
    assert loss[0] == loss[1] == 0 < loss[2]
    assert scores.grad[:2].eq(0).all()
    assert scores.grad[2, 0, 0] < 0 < scores.grad[2, 0, 1]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    power=st.floats(-8, 8),
    k=st.integers(1, 4),
    classes=st.integers(2, 6),
    gamma=st.floats(0.01, 10),
    noise=st.sampled_from(sorted(NOISES)),
)
def test_any_finite_scores_give_finite_losses_and_gradients(seed, power, k, classes, gamma, noise):
    generator = torch.Generator().manual_seed(seed)
    scores = 10**power * torch.randn(8, k, classes, generator=generator)
    scores.requires_grad_()
    y = torch.randint(classes, (8,), generator=generator)
    sigma = torch.rand(8, generator=generator)
    options = {"beta": 16.0, "gamma": gamma}
    loss = macer_loss(scores, y, sigma, NOISES[noise], **options, weight=12.0)
    assert loss.isfinite().all()
    assert (robustness_loss(scores, y, sigma, NOISES[noise], **options) >= 0).all()
    loss.mean().backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"gamma": 0.0},
        {"gamma": 10.5},
        {"gamma": float("nan")},
        {"weight": -1.0},
        {"weight": float("inf")},
        {"beta": 0.0},
        {"beta": float("nan")},
    ],
)
def test_hyperparameters_that_can_never_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        Macer(**options)


def test_it_costs_a_pass_for_each_copy():
    assert Macer(k=16).passes == 16
    assert Macer(k=16).at_epoch(3) == Macer(k=16)
