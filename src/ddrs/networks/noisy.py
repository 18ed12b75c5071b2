"""Noisy copies of a batch, and the scores of a network at them."""

from collections.abc import Callable

from torch import Tensor

__all__ = ["add_noise", "noisy_scores"]


def add_noise(x: Tensor, sigma: Tensor, draws: Tensor) -> Tensor:
    """The noisy inputs x + sigma e; `x` and `draws` begin with the batch, `sigma` is `[batch]`."""
    return x + sigma.to(x).view(-1, *[1] * (draws.ndim - 1)) * draws


def noisy_scores(
    forward: Callable[[Tensor], Tensor], x: Tensor, sigma: Tensor, draws: Tensor
) -> Tensor:
    """`[batch, copies, classes]` scores at x + sigma e.

    Args:
        forward: scores `[rows, classes]` for `[rows, *input]`; it sees all copies as one batch.
        x: `[batch, *input]` inputs.
        sigma: `[batch]` sigma of each input.
        draws: `[batch, copies, *input]` noise e at sigma 1.
    """
    noisy = add_noise(x.unsqueeze(1), sigma, draws)
    return forward(noisy.flatten(0, 1)).reshape(*draws.shape[:2], -1)
