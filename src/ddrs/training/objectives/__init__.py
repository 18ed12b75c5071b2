"""Training objectives as pure functions: a batch and its noise scales -> a loss.

To add one, write a module beside `gaussian` and enter its function in `OBJECTIVES`.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from ddrs.noise import Noise
from ddrs.training.objectives.gaussian import gaussian

__all__ = ["OBJECTIVES", "Objective"]


class Objective(Protocol):
    """One training objective."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        sigma: Tensor,
        noise: Noise,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """The loss to minimise, and the scores it was computed from.

        Args:
            model: the base classifier, in training mode.
            x: `[batch, *input]` inputs.
            y: `[batch]` int64 labels.
            sigma: `[batch]` noise scale of each example.
            noise: the smoothing distribution.
            generator: the only source of randomness.

        Returns:
            The mean loss, a scalar, and `[batch, classes]` scores under noise.
        """


OBJECTIVES: dict[str, Objective] = {"gaussian": gaussian}
"""Every objective by the name that `ddrs train --method` gives it."""
