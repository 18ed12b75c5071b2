"""The radius as a differentiable function of sigma (DDRS, Equation 2), and its slope.

Algorithm 1 ascends it for the inputs of a certification, Algorithm 2 for the training examples.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import Noise

__all__ = ["CLAMP", "radius_objective", "radius_slope"]

CLAMP = 1e-3
"""Class probabilities are kept in [CLAMP, 1 - CLAMP] before Phi^-1, which is infinite at 0 and 1.

At the clamp the objective is sigma * Phi^-1(1 - CLAMP), whose slope is a constant: a confident
input's sigma then grows by 3.09 lr at every step, and the number of steps decides where it ends.
The range [low, high] and the comparison with the start (`GradientSigma`) bound what that can do.
"""


def radius_objective(
    scores: Tensor, sigma: Tensor, selected: Tensor, noise: Noise, clamp: float = CLAMP
) -> Tensor:
    """R(sigma) = noise radius of (psi_A, max over c != A of psi_c), psi = mean softmax.

    Args:
        scores: `[batch, n, classes]` scores at x + sigma * e for n draws e.
        sigma: `[batch]` sigma of each input; gradients flow through it directly and through the
            scores.
        selected: `[batch]` class A of each input.
        noise: the smoothing distribution, whose radius formula is used.
        clamp: both probabilities are kept in [clamp, 1 - clamp].

    Returns:
        `[batch]` estimated radii (DDRS, Equation 2), negative where another class leads.
    """
    psi = scores.softmax(dim=-1).mean(dim=1)
    chosen = torch.nn.functional.one_hot(selected, psi.shape[-1]).bool()
    top = psi[chosen]
    other = psi.masked_fill(chosen, 0.0).amax(dim=-1)
    return noise.soft_radius(sigma, top.clamp(clamp, 1 - clamp), other.clamp(clamp, 1 - clamp))


def radius_slope(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    draws: Tensor,
    sigma: Tensor,
    noise: Noise,
    selected: Tensor | None = None,
) -> Tensor:
    """`[batch]` derivatives dR/dsigma of `radius_objective` for the given draws.

    A derivative that is infinite or NaN is 0, so that an ascent stays where it is.

    Args:
        forward: scores `[rows, classes]` for `[rows, *input]`, of a network whose weights are
            frozen, each row by itself.
        x: `[batch, *input]` inputs.
        draws: `[batch, n, *input]` noise at sigma 1.
        sigma: `[batch]` sigma of each input.
        noise: the smoothing distribution.
        selected: `[batch]` class whose radius it is; None for the one of largest mean softmax
            over these draws.

    Returns:
        The derivatives in the type and on the device of `sigma`.
    """
    with torch.enable_grad():
        variable = sigma.detach().to(x).requires_grad_()  # `to` alone may return the caller's own
        scores = noisy_scores(forward, x, variable, draws)
        if selected is None:
            selected = scores.detach().softmax(dim=-1).mean(dim=1).argmax(dim=1)
        radius = radius_objective(scores, variable, selected, noise)
        (slope,) = torch.autograd.grad(radius.sum(), variable)
    return slope.to(sigma).nan_to_num(0.0, 0.0, 0.0)
