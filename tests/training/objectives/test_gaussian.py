import math

import pytest
import torch

from ddrs.noise.distributions import NOISES
from ddrs.training.objectives.gaussian import GaussianAugmentation
from support import objective_reference as reference
from support.classifiers import Table
from support.objective_reference import batch, check_value_and_slopes, drawn, sigmas
from training.objectives.contract import ObjectiveContract


class TestGaussian(ObjectiveContract):
    def objective(self):
        return GaussianAugmentation()


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 2, 4), (3, 1, 3, 3)], ids=str)
def test_value_and_gradient_are_those_of_the_formula(noise, shape):
    model, (x, y), sigma = Table(math.prod(shape[1:]), 4), batch(shape, 4), sigmas(shape[0])
    loss, scores = GaussianAugmentation()(
        model, x, y, sigma, noise, torch.Generator().manual_seed(1)
    )
    assert torch.allclose(scores[sigma == 0], model(x[sigma == 0]), rtol=1e-12)
    draws = drawn(noise, shape, 1).unsqueeze(1).numpy()

    def examples(network):
        return [
            reference.gaussian(network, x[row].numpy(), y[row], sigma[row].item(), draws[row])
            for row in range(shape[0])
        ]

    check_value_and_slopes(model, loss, examples)


def test_it_is_the_unit_of_cost():
    assert GaussianAugmentation().passes == 1
    assert GaussianAugmentation().at_epoch(7) == GaussianAugmentation()
