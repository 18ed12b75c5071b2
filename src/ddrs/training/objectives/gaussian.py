"""Cross-entropy on noisy inputs (Cohen et al. 2019, section 3.3)."""

import torch
from torch import Tensor, nn

from ddrs.noise import Noise

__all__ = ["gaussian"]


def gaussian(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sigma: Tensor,
    noise: Noise,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of f(x + sigma e) with y, one draw e an example.

    Arguments and result are those of `Objective`.
    """
    draws = noise.sample_like(x, generator)
    scores = model(x + sigma.view(-1, *[1] * (x.ndim - 1)) * draws)
    return nn.functional.cross_entropy(scores, y), scores
