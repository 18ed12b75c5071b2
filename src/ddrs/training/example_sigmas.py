"""How a training example gets a sigma of its own: by ascent of its radius, or at random."""

import torch
from torch import Tensor, nn

from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import Noise
from ddrs.sigma.objective import radius_slope
from ddrs.training.objectives.noisy import draw
from ddrs.training.sigmas import DataDependent

__all__ = ["ascend", "draw_sigmas"]


def ascend(
    network: nn.Module,
    x: Tensor,
    sigma: Tensor,
    noise: Noise,
    generator: torch.Generator,
    *,
    settings: DataDependent,
    bounds: tuple[float, float],
) -> Tensor:
    """Algorithm 2 of DDRS: sigma <- sigma + lr dR/dsigma with fresh draws, `steps` times.

    The class whose radius R is ascended is the one of largest mean softmax, as in the paper. The
    network is in evaluation mode and frozen meanwhile; afterwards it is as it was.

    Args:
        network: the base classifier.
        x: `[batch, *input]` inputs.
        sigma: `[batch]` float64, the sigma of each.
        noise: the smoothing distribution.
        generator: the only source of randomness.
        settings: number and size of the steps, and draws per step.
        bounds: the least and the largest sigma.

    Returns:
        `[batch]` float64 sigmas within the bounds, on the device of `sigma`.
    """
    with frozen(network) as model:
        for _ in range(settings.steps):
            draws = draw(x, settings.n, noise, generator)
            slope = radius_slope(model, x, draws, sigma, noise)
            sigma = (sigma + settings.lr * slope).clamp(*bounds)
    return sigma


def draw_sigmas(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """`[count]` float64 sigmas between the two, uniform in their logarithm.

    So every ratio of sigmas is met equally often. It is no part of DDRS: a classifier that is to be
    certified at a sigma chosen for each input is trained for all that may be chosen.
    """
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    return (low * (high / low) ** share).clamp(low, high)
