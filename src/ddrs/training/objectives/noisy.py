"""Draws for a batch, and the loss of the smoothed classifier at noisy copies of it."""

import math

import torch
from torch import Tensor

from ddrs.noise.distributions import Noise

__all__ = ["draw", "smoothed_loss"]


def draw(x: Tensor, copies: int, noise: Noise, generator: torch.Generator) -> Tensor:
    """`[batch, copies, *input]` draws at sigma 1 for the inputs `x` `[batch, *input]`."""
    return noise.sample_like(x.new_empty(len(x), copies, *x.shape[1:]), generator)


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
