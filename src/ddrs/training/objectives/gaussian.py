"""Cross-entropy on noisy inputs (Cohen et al. 2019, section 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddrs.networks.noisy import add_noise
from ddrs.noise.distributions import Noise

__all__ = ["GaussianAugmentation"]


@dataclass(frozen=True)
class GaussianAugmentation:
    """Mean cross-entropy of f(x + sigma e) with y, one draw e per example, from any noise."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        sigma: Tensor,
        noise: Noise,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        scores: Tensor = model(add_noise(x, sigma, noise.sample_like(x, generator)))
        return nn.functional.cross_entropy(scores, y), scores

    def at_epoch(self, epoch: int) -> "GaussianAugmentation":
        """Itself."""
        return self

    @property
    def passes(self) -> float:
        """One forward and one backward pass."""
        return 1.0
