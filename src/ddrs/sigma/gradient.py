"""Algorithm 1 of DDRS: ascend a differentiable estimate of the radius in sigma."""

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.sigma.guard import Guard, limited
from ddrs.sigma.policy import (
    HIGH_OPTION,
    INITIAL_OPTION,
    LOW_OPTION,
    SigmaChoice,
    check_range,
    estimated_radius,
)

if TYPE_CHECKING:  # they load torch, which takes a second: a policy is described without it
    from ddrs.noise.distributions import Noise
    from ddrs.votes.classifier import NoisyClassifier
    from ddrs.votes.requests import Inputs

__all__ = ["GradientSigma"]

CHECK_VOTES = 500  # votes at the start and at the end that decide whether the end is kept


@dataclass(frozen=True)
class GradientSigma:
    """Algorithm 1 of DDRS, for a whole batch at once: sigma <- sigma + lr dR/dsigma, `steps` times.

    Where this differs from the public code, on purpose: the class is fixed at the one selected at
    `initial`; sigma stays in [low, high]; the model is in evaluation mode, so inputs do not touch
    each other through batch normalisation; and an input keeps `initial` unless hard votes, the same
    draws at both ends, say that the end is better. The probabilities are clamped as
    `ddrs.sigma.objective` says.

    Args:
        initial: where sigma starts: the one that the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        steps: ascent steps K (the paper cross-validates it; its public code has 100 and 900).
        lr: step size (the paper's 1e-4).
        n: fresh draws per step (the paper's 1; 8 for classifiers trained with MACER); those of one
            input go through the model together.
        calibration: limits `high` for each classifier (`ddrs.calibrate`); None for no limit.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, steps < 0, n < 1, or an lr
            that is not positive and finite.
    """

    initial: float = field(metadata=INITIAL_OPTION)
    low: float | None = field(default=None, metadata=LOW_OPTION)
    high: float | None = field(default=None, metadata=HIGH_OPTION)
    steps: int = field(default=900, metadata={"metavar": "K", "help": "Ascent steps of gradient."})
    lr: float = field(default=1e-4, metadata={"metavar": "LR", "help": "Step size of gradient."})
    n: int = field(
        default=1,
        metadata={"flag": "--draws", "metavar": "N", "help": "Draws per step of gradient."},
    )
    calibration: Guard | None = None
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        if self.steps < 0 or not 0 < self.lr < inf or self.n < 1:
            raise ConfigurationError(
                "GradientSigma needs steps >= 0, a finite lr > 0 and n >= 1, "
                f"got steps={self.steps}, lr={self.lr}, n={self.n}"
            )

    @property
    def cost(self) -> int:
        """Forward passes: the ascent, and the votes at both ends."""
        return self.steps * self.n + 2 * CHECK_VOTES

    def choose(
        self, classifier: "NoisyClassifier", inputs: "Inputs", selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Ascend, then keep the end where it beats the start."""
        allowed = limited(self, classifier)
        if allowed is not self:
            return allowed.choose(classifier, inputs, selected)
        size = max(1, classifier.rows_per_batch(inputs.shape) // self.n)
        parts = [
            self._ascend(classifier, inputs.take(rows), selected[rows])
            for rows in (
                list(range(first, min(first + size, len(inputs))))
                for first in range(0, len(inputs), size)
            )
        ]
        end = np.concatenate(parts) if parts else np.empty(0)
        at_start = classifier.count_each(inputs, self.initial, CHECK_VOTES, "gradient-check")
        at_end = classifier.count_each(inputs, end, CHECK_VOTES, "gradient-check")
        rows = np.arange(len(inputs))
        start = np.full_like(end, self.initial)
        before = _estimates(classifier.noise, start, at_start[rows, selected])
        after = _estimates(classifier.noise, end, at_end[rows, selected])
        return SigmaChoice(
            np.where(after > before, end, self.initial),
            np.full(len(inputs), self.cost, dtype=np.int64),
            np.maximum(before, after),
        )

    def _ascend(
        self, classifier: "NoisyClassifier", inputs: "Inputs", selected: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """`[batch]` values of sigma where the ascent ends."""
        import torch

        from ddrs.sigma.objective import radius_slope

        low, high = check_range(self.initial, self.low, self.high)
        x = inputs.x.to(classifier.device)
        target = torch.from_numpy(selected).to(classifier.device)
        streams = [inputs.stream(row, "gradient") for row in range(len(inputs))]
        draws = np.empty((len(inputs), self.n, *inputs.shape), dtype=np.float32)
        sigma = torch.full((len(inputs),), self.initial, dtype=torch.float64)
        for _ in range(self.steps):
            for stream, piece in zip(streams, draws, strict=True):
                stream.fill(piece, classifier.noise)
            slope = radius_slope(
                classifier.scores, x, torch.from_numpy(draws).to(x), sigma, classifier.noise, target
            )
            sigma = (sigma + self.lr * slope).clamp(low, high)
            classifier.on_votes(len(inputs) * self.n)
        return sigma.numpy()


def _estimates(
    noise: "Noise", sigma: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """`[batch]` radii that these counts of `CHECK_VOTES` votes suggest."""
    pairs = zip(sigma.tolist(), counts.tolist(), strict=True)
    return np.array(
        [estimated_radius(noise, value, count, CHECK_VOTES) for value, count in pairs],
        dtype=np.float64,
    )
