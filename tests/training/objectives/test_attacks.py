import math

import pytest
import torch
from torch import nn

from ddrs.networks.noisy import noisy_scores
from ddrs.training.objectives.attacks import ATTACKS, ddn, pgd
from ddrs.training.objectives.noisy import smoothed_loss
from support import objective_reference as reference
from support.classifiers import Table
from support.objective_reference import Network, batch, sigmas

EPSILON = 0.3


def each(epsilon, x):
    """The same ball for every input."""
    return torch.full((len(x),), epsilon, dtype=x.dtype)


def attacked(count=6, shape=(2, 4), m=3, seed=0):
    """A classifier, inputs, labels, scales, draws, and the scores as an attack sees them."""
    model = Table(math.prod(shape), 4)
    x, y = batch((count, *shape), 4, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    draws = torch.randn(count, m, *shape, generator=generator, dtype=torch.float64)
    sigma = sigmas(6).repeat(math.ceil(count / 6))[:count]
    return model, x, y, sigma, draws, lambda point: noisy_scores(model, point, sigma, draws)


def length(change):
    return change.flatten(1).norm(dim=1)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 3, 3)], ids=str)
def test_points_are_those_of_the_formulas(name, steps, m, shape):
    model, x, y, sigma, draws, scores = attacked(12, shape, m)
    epsilon = torch.linspace(0.05, 0.6, 12, dtype=x.dtype)
    found = ATTACKS[name](scores, x, y, epsilon, steps)
    network = Network(model.first.detach().numpy(), model.second.detach().numpy())
    for row in range(12):
        expected = getattr(reference, name)(
            network, x[row].numpy(), y[row].item(), sigma[row].item(), draws[row].numpy(),
            epsilon[row].item(), steps,
        )  # fmt: skip
        assert torch.allclose(found[row], torch.from_numpy(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", [1e-3, 0.3, 2.0, 50.0])
def test_points_lie_in_the_ball_and_in_the_unit_cube(name, epsilon):
    _, x, y, _, _, scores = attacked(60)
    found = ATTACKS[name](scores, x, y, each(epsilon, x), 5)
    assert (length(found - x) <= epsilon * (1 + 1e-12)).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.requires_grad
    if name == "pgd":
        assert (length(found - x) > 0.5 * min(epsilon, 0.5)).all()


@pytest.mark.parametrize("m", [1, 4])
def test_pgd_raises_the_loss_more_than_random_directions_do(m):
    _, x, y, _, _, scores = attacked(300, m=m, seed=3)
    found = pgd(scores, x, y, each(EPSILON, x), 4)
    generator, better = torch.Generator().manual_seed(9), 0
    for _ in range(5):
        random = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        random *= (length(found - x) / length(random)).view(-1, 1, 1)
        better += (smoothed_loss(scores(found), y) > smoothed_loss(scores(x + random), y)).sum()
    assert better >= 0.97 * 5 * 300
    assert (smoothed_loss(scores(found), y) >= smoothed_loss(scores(x), y)).float().mean() >= 0.99


def test_ddn_takes_the_nearest_wrong_point_and_keeps_what_it_cannot_fool():
    _, x, y, _, _, scores = attacked(300, m=3, seed=3)
    found = ddn(scores, x, y, each(EPSILON, x), 8)

    def wrong(point):
        return scores(point).softmax(-1).mean(1).argmax(1) != y

    moved = length(found - x) > 0
    assert (moved & (length(found - x) < 0.9 * EPSILON)).sum() > 5  # nearer than the ball's edge
    assert not moved[wrong(x)].any()  # nothing to do there
    at_edge = length(found - x) > EPSILON * (1 - 1e-9)  # may have been projected
    assert wrong(found)[moved & ~at_edge].all()
    assert (~wrong(x) & ~moved).any()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_gradient_of_zero_keeps_the_input(name):
    x, y = batch((4, 2, 3), 3)
    flat = torch.tensor([0.0, 1.0, 0.0], dtype=x.dtype)
    found = ATTACKS[name](
        lambda point: 0 * point.sum((1, 2), True) + flat, x, y, each(EPSILON, x), 3
    )
    assert torch.equal(found, x)


def test_a_gradient_whose_square_underflows_still_has_a_direction():
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[70.0, 0.0, 0.0, 0.0], [-70.0, 0.0, 0.0, 0.0]]))
    x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    variable = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(smoothed_loss(linear(variable)[:, None], y).sum(), variable)
    assert 0 < slope.norm(p=torch.inf) < 1e-25
    found = pgd(lambda point: linear(point)[:, None], x, y, each(0.2, x), 2)
    assert torch.allclose(found, torch.tensor([[0.3, 0.5, 0.5, 0.5]]))


@pytest.mark.parametrize("name", ATTACKS)
def test_each_example_is_attacked_by_itself(name):
    model, x, y, sigma, draws, scores = attacked(6)
    together = ATTACKS[name](scores, x, y, each(EPSILON, x), 4)
    for row in range(6):
        one = slice(row, row + 1)

        def alone(point, one=one):
            return noisy_scores(model, point, sigma[one], draws[one])

        found = ATTACKS[name](alone, x[one], y[one], each(EPSILON, x[one]), 4)
        assert torch.allclose(found, together[one], rtol=0, atol=1e-12)


def test_in_l1_the_coordinate_of_largest_slope_moves_until_it_meets_the_border():
    weight = torch.tensor([0.5, -3.0, 2.0, 0.0], dtype=torch.float64)
    x = torch.tensor([[0.5, 0.9, 0.5, 0.5]], dtype=torch.float64)

    def scores(point):
        margin = point @ weight
        return torch.stack([margin, -margin], -1)[:, None]

    def found(epsilon, steps=8, **more):
        ball = torch.tensor([epsilon], dtype=x.dtype)
        change = pgd(scores, x, torch.tensor([0]), ball, steps, norm="l1", **more) - x
        return change[0].tolist()

    assert found(0.08) == pytest.approx([0, 0.08, 0, 0])
    # the second coordinate meets 1 after 0.1, and the third takes the rest
    assert found(0.2) == pytest.approx([0, 0.1, -0.1, 0], abs=0.01)
    assert found(0.2, box=(-math.inf, math.inf)) == pytest.approx([0, 0.2, 0, 0])
