"""Data-dependent training: a sigma of its own for every training example (DDRS, Algorithm 2).

This says what is done; `example_sigmas` does it. The fields of `DataDependent` say in their
metadata what the command line shows of them.
"""

from dataclasses import dataclass, field

from ddrs.errors import ConfigurationError
from ddrs.sigma.policy import check_range

__all__ = ["SIGMA_PANEL", "DataDependent"]

WARMUP_SHARE = 4  # a quarter of all epochs: the paper's 50 of 200
ASCENT_PASS = 2 / 3
"""Cost of an ascent step relative to a training step: the gradients of the weights are left out."""

SIGMA_PANEL = "A sigma for each example"
"""Where the command line shows its options."""


@dataclass(frozen=True)
class DataDependent:
    """Each step first refines the sigma of each of its examples, then trains with them.

    A sigma starts at that of the training, stays as it is during the warm-up, and is kept from
    epoch to epoch. The probabilities are clamped as `ddrs.sigma.objective` says.

    Args:
        warmup: first epochs in which every sigma stays; by default a quarter of all.
        steps: ascent steps K per training step (the paper's 1).
        lr: step size (the paper's 1e-4).
        n: noise draws per ascent step (the paper's 1; 8 with MACER).
        low: least sigma; a quarter of the training's by default.
        high: largest sigma; four times the training's by default.

    Raises:
        ConfigurationError: a value that can never work.
    """

    warmup: int | None = field(
        default=None,
        metadata={
            "flag": "--sigma-warmup",
            "metavar": "E",
            "help": "First epochs with one sigma. Default: a quarter of all.",
            "panel": SIGMA_PANEL,
        },
    )
    steps: int = field(
        default=1,
        metadata={
            "flag": "--sigma-steps",
            "metavar": "K",
            "help": "Ascent steps per training step.",
            "panel": SIGMA_PANEL,
        },
    )
    lr: float = field(
        default=1e-4,
        metadata={
            "flag": "--sigma-lr",
            "metavar": "LR",
            "help": "Their step size, as published for 200 epochs; a short "
            "training needs more to move at all, e.g. 0.02.",
            "panel": SIGMA_PANEL,
        },
    )
    n: int = field(
        default=1,
        metadata={
            "flag": "--sigma-draws",
            "metavar": "N",
            "help": "Noise draws per ascent step.",
            "panel": SIGMA_PANEL,
        },
    )
    low: float | None = field(
        default=None,
        metadata={
            "flag": "--sigma-low",
            "metavar": "S",
            "help": "Least sigma. Default: --sigma / 4.",
            "panel": SIGMA_PANEL,
        },
    )
    high: float | None = field(
        default=None,
        metadata={
            "flag": "--sigma-high",
            "metavar": "S",
            "help": "Largest sigma. Default: 4 times --sigma.",
            "panel": SIGMA_PANEL,
        },
    )

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.lr < float("inf") or self.n < 1:
            raise ConfigurationError(
                "data-dependent training needs steps >= 1, a finite lr > 0 and n >= 1, "
                f"got steps={self.steps}, lr={self.lr}, n={self.n}"
            )

    def check(self, sigma: float, epochs: int) -> None:
        """Refuse a training with which this can never work.

        Args:
            sigma: of the training.
            epochs: epochs of the training.

        Raises:
            ConfigurationError: not 0 < low <= sigma <= high, or the warm-up is as long as the
                training.
        """
        warmup = self.first_epoch(epochs)
        if not 0 <= warmup < epochs:
            raise ConfigurationError(
                f"the warm-up of data-dependent training must be shorter than the {epochs} "
                f"epochs, got {warmup}"
            )
        check_range(sigma, self.low, self.high)

    def first_epoch(self, epochs: int) -> int:
        """The first of `epochs` in which sigmas change."""
        return epochs // WARMUP_SHARE if self.warmup is None else self.warmup

    def bounds(self, sigma: float) -> tuple[float, float]:
        """The least and the largest sigma of an example, where that of the training is `sigma`."""
        return check_range(sigma, self.low, self.high)

    @property
    def passes(self) -> float:
        """Cost of refining, per example, in forward and backward passes of plain training."""
        return self.steps * self.n * ASCENT_PASS
