"""A noise scale for every training example (DDRS, Algorithm 2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import Noise
from ddrs.sigma.gradient import radius_objective
from ddrs.sigma.policy import check_range
from ddrs.training.objectives.noisy import draw, noisy_scores

__all__ = ["DataDependent", "ascend", "draw_scales", "histogram"]

WARMUP_SHARE = 4  # a quarter of all epochs: the paper's 50 of 200
ASCENT_PASS = 2 / 3
"""Cost of an ascent step relative to a training step: the gradients of the weights are left out."""

BINS = 20


@dataclass(frozen=True)
class DataDependent:
    """Each step first refines the scales of its examples, then trains with them.

    A scale starts at the training sigma, stays as it is during the warm-up, and is kept from epoch
    to epoch. The probabilities are clamped as in `ddrs.sigma.gradient`.

    Args:
        warmup: first epochs in which every scale stays; by default a quarter of all.
        steps: ascent steps K a training step (the paper's 1).
        lr: step size (the paper's 1e-4).
        n: noise draws an ascent step (the paper's 1; 8 with MACER).
        low: least scale; a quarter of the training sigma by default.
        high: largest scale; four times the training sigma by default.

    Raises:
        ConfigurationError: a value that can never work.
    """

    warmup: int | None = field(
        default=None,
        metadata={
            "flag": "--sigma-warmup",
            "metavar": "E",
            "help": "First epochs with one sigma. Default: a quarter of all.",
        },
    )
    steps: int = field(
        default=1,
        metadata={
            "flag": "--sigma-steps",
            "metavar": "K",
            "help": "Ascent steps per training step. Default: 1.",
        },
    )
    lr: float = field(
        default=1e-4,
        metadata={
            "flag": "--sigma-lr",
            "metavar": "LR",
            "help": "Their step size. Default: 0.0001, as published for 200 epochs; a short "
            "training needs more to move at all, e.g. 0.02.",
        },
    )
    n: int = field(
        default=1,
        metadata={
            "flag": "--sigma-draws",
            "metavar": "N",
            "help": "Noise draws per ascent step. Default: 1.",
        },
    )
    low: float | None = field(
        default=None,
        metadata={
            "flag": "--sigma-low",
            "metavar": "S",
            "help": "Least sigma. Default: --sigma / 4.",
        },
    )
    high: float | None = field(
        default=None,
        metadata={
            "flag": "--sigma-high",
            "metavar": "S",
            "help": "Largest sigma. Default: 4 times --sigma.",
        },
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.lr < float("inf") or self.n < 1:
            raise ConfigurationError(
                "data-dependent training needs steps >= 1, a finite lr > 0 and n >= 1, "
                f"got steps={self.steps}, lr={self.lr}, n={self.n}"
            )

    def first_epoch(self, epochs: int) -> int:
        """The first of `epochs` in which scales change.

        Raises:
            ConfigurationError: the warm-up is as long as the training.
        """
        warmup = epochs // WARMUP_SHARE if self.warmup is None else self.warmup
        if not 0 <= warmup < epochs:
            raise ConfigurationError(
                f"the warm-up of data-dependent training must be shorter than the {epochs} "
                f"epochs, got {warmup}"
            )
        return warmup

    def bounds(self, sigma: float) -> tuple[float, float]:
        """The least and the largest scale, where the training sigma is `sigma`.

        Raises:
            ConfigurationError: unless 0 < low <= sigma <= high.
        """
        return check_range(sigma, self.low, self.high)

    def refine(
        self,
        model: nn.Module,
        x: Tensor,
        sigma: Tensor,
        noise: Noise,
        generator: torch.Generator,
        *,
        start: float,
    ) -> Tensor:
        """`ascend` with these values, where the training sigma is `start`."""
        return ascend(
            model, x, sigma, noise, generator,
            steps=self.steps, lr=self.lr, n=self.n, bounds=self.bounds(start),
        )  # fmt: skip

    @property
    def passes(self) -> float:
        """Cost of refining, in forward and backward passes of plain training for an example."""
        return self.steps * self.n * ASCENT_PASS


def ascend(
    model: nn.Module,
    x: Tensor,
    sigma: Tensor,
    noise: Noise,
    generator: torch.Generator,
    *,
    steps: int,
    lr: float,
    n: int,
    bounds: tuple[float, float],
) -> Tensor:
    """Refine scales: sigma <- sigma + lr dR/dsigma with fresh draws, `steps` times.

    The class whose radius R is ascended is the one of largest mean softmax, as in the paper. The
    model is in evaluation mode and frozen meanwhile; afterwards it is as it was.

    Args:
        model: the base classifier.
        x: `[batch, *input]` inputs.
        sigma: `[batch]` float64 scales.
        noise: the smoothing distribution.
        generator: the only source of randomness.
        steps: ascent steps.
        lr: step size.
        n: draws a step.
        bounds: the least and the largest scale.

    Returns:
        `[batch]` float64 scales within the bounds, on the device of `sigma`.
    """
    with frozen(model) as network:
        for _ in range(steps):
            draws = draw(x, n, noise, generator)
            scale = sigma.detach().to(x).requires_grad_()  # a float32 copy: `sigma` is float64
            scores = noisy_scores(network, x, scale, draws)
            selected = scores.detach().softmax(-1).mean(1).argmax(1)
            radius = radius_objective(scores, scale, selected, noise)
            (slope,) = torch.autograd.grad(radius.sum(), scale)
            sigma = (sigma + lr * slope.to(sigma).nan_to_num(0.0, 0.0, 0.0)).clamp(*bounds)
    return sigma


def draw_scales(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """`[count]` float64 scales between the two, uniform in their logarithm.

    So every ratio of scales is met equally often. It is no part of DDRS: a classifier that is to be
    certified at a scale chosen for each input is trained for all that may be chosen.
    """
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    return (low * (high / low) ** share).clamp(low, high)


def histogram(sigma: Tensor, bounds: tuple[float, float]) -> Sequence[int]:
    """How many of `[examples]` scales are in each of 20 equal parts of [low, high]."""
    low, high = bounds
    counts = torch.histc(sigma, BINS, low, high) if low < high else sigma.new_tensor([len(sigma)])
    return [int(count) for count in counts]
