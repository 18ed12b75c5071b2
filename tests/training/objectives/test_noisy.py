import math

import pytest
import torch

from ddrs.noise.distributions import NOISES
from ddrs.training.objectives.noisy import draw, smoothed_loss


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_draws_are_those_of_the_noise_with_the_batch_first(noise):
    x = torch.zeros(5, 2, 3, dtype=torch.float64)
    draws = draw(x, 4, noise, torch.Generator().manual_seed(1))
    assert draws.dtype == x.dtype
    expected = noise.sample_like(x.new_empty(5, 4, 2, 3), torch.Generator().manual_seed(1))
    assert torch.equal(draws, expected)


def test_the_smoothed_loss_takes_the_mean_of_probabilities():
    scores = torch.tensor([[[0.0, math.log(3)], [math.log(9), 0.0]]], dtype=torch.float64)
    assert smoothed_loss(scores, torch.tensor([0])).item() == pytest.approx(
        -math.log((1 / 4 + 9 / 10) / 2)
    )
    one = scores[:, :1]
    assert smoothed_loss(one, torch.tensor([1])).item() == pytest.approx(-math.log(3 / 4))


def test_a_vanishing_probability_keeps_its_loss_and_its_gradient():
    scores = torch.tensor([[[0.0, 500.0], [0.0, 600.0]]], requires_grad=True)
    loss = smoothed_loss(scores, torch.tensor([0]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(500 + math.log(2))
    assert torch.allclose(scores.grad[0], torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), atol=1e-40)
