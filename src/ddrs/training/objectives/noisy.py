"""Noisy copies of a batch, the scores at them, and what they say of the smoothed classifier."""

import math

import torch
from torch import Tensor, nn

from ddrs.noise.distributions import Noise

__all__ = ["add_noise", "draw", "noisy_scores", "smoothed_loss"]


def draw(x: Tensor, copies: int, noise: Noise, generator: torch.Generator) -> Tensor:
    """`[batch, copies, *input]` draws at scale 1 for the inputs `x` `[batch, *input]`."""
    return noise.sample_like(x.new_empty(len(x), copies, *x.shape[1:]), generator)


def add_noise(x: Tensor, sigma: Tensor, draws: Tensor) -> Tensor:
    """The noisy inputs x + sigma e; `x` and `draws` begin with the batch, `sigma` is `[batch]`."""
    return x + sigma.to(x).view(-1, *[1] * (draws.ndim - 1)) * draws


def noisy_scores(model: nn.Module, x: Tensor, sigma: Tensor, draws: Tensor) -> Tensor:
    """`[batch, copies, classes]` scores at x + sigma e.

    Args:
        model: the base classifier; it sees all copies as one batch.
        x: `[batch, *input]` inputs.
        sigma: `[batch]` noise scales.
        draws: `[batch, copies, *input]` noise e at scale 1.
    """
    noisy = add_noise(x.unsqueeze(1), sigma, draws)
    scores: Tensor = model(noisy.flatten(0, 1))
    return scores.reshape(*draws.shape[:2], -1)


def smoothed_loss(scores: Tensor, y: Tensor) -> Tensor:
    """`[batch]` losses -log(mean over copies of softmax_y).

    Computed from logarithms, so that a label of vanishing probability still has a finite loss and
    a gradient; public code adds a constant inside the logarithm instead, which flattens both.

    Args:
        scores: `[batch, copies, classes]` scores, not probabilities.
        y: `[batch]` int64 labels.
    """
    copies = scores.shape[1]
    labels = y.view(-1, 1, 1).expand(-1, copies, 1)
    return math.log(copies) - scores.log_softmax(-1).gather(-1, labels).logsumexp((1, 2))
