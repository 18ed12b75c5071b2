"""What a training objective is: a batch and the sigma of each example -> a loss."""

from dataclasses import Field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ddrs.noise.distributions import Noise

__all__ = ["Objective"]


class Objective(Protocol):
    """One training objective; its hyperparameters are the fields of a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        sigma: Tensor,
        noise: Noise,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """The loss to minimise, and scores under noise.

        All randomness is `noise.sample_like(tensor, generator)` with tensors whose first dimension
        is the batch, so several processes can draw for the whole batch and keep their own rows.

        Args:
            model: the base classifier, in training mode; it comes back as it was.
            x: `[batch, *input]` inputs.
            y: `[batch]` int64 labels.
            sigma: `[batch]` sigma of each example.
            noise: the smoothing distribution.
            generator: the only source of randomness.

        Returns:
            The mean over the batch of each example's loss, a scalar that is finite wherever the
            scores are, and `[batch, classes]` scores at one noisy copy of each example.
        """

    def at_epoch(self, epoch: int) -> "Objective":
        """The objective of this epoch, counted from 0: itself unless it has a warm-up."""

    @property
    def passes(self) -> float:
        """Cost of a step, in forward and backward passes of plain training."""
