"""Algorithm 1 of DDRS: ascend a differentiable estimate of the radius in sigma."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import Noise
from ddrs.noise.streams import Source
from ddrs.sigma.policy import SigmaChoice, check_range, estimated_radius
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["CLAMP", "GradientSigma", "radius_objective"]

Floats = npt.NDArray[np.float64]

CLAMP = 1e-3
"""Class probabilities are kept in [CLAMP, 1 - CLAMP] before Phi^-1, which is infinite at 0 and 1.

At the clamp the objective is sigma * Phi^-1(1 - CLAMP), whose slope is a constant: a confident
input's sigma then grows by 3.09 lr at every step, and the number of steps decides where it ends.
The range [low, high] and the comparison with the start (`GradientSigma`) bound what that can do.
"""

CHECK_VOTES = 500  # votes at the start and at the end that decide whether the end is kept


def radius_objective(
    scores: Tensor, sigma: Tensor, selected: Tensor, noise: Noise, clamp: float = CLAMP
) -> Tensor:
    """R(sigma) = noise radius of (psi_A, max over c != A of psi_c), psi = mean softmax.

    Args:
        scores: `[batch, n, classes]` scores at x + sigma * e for n draws e.
        sigma: `[batch]` noise scales; gradients flow through it directly and through the scores.
        selected: `[batch]` class A of each input.
        noise: the smoothing distribution, whose radius formula is used.
        clamp: both probabilities are kept in [clamp, 1 - clamp].

    Returns:
        `[batch]` estimated radii (DDRS, Equation 2), negative where another class leads.
    """
    psi = scores.softmax(dim=-1).mean(dim=1)
    chosen = torch.nn.functional.one_hot(selected, psi.shape[-1]).bool()
    top = psi[chosen]
    other = psi.masked_fill(chosen, 0.0).amax(dim=-1)
    return noise.soft_radius(sigma, top.clamp(clamp, 1 - clamp), other.clamp(clamp, 1 - clamp))


@dataclass(frozen=True)
class GradientSigma:
    """Algorithm 1 of DDRS, for a whole batch at once: sigma <- sigma + lr dR/dsigma, `steps` times.

    Where this differs from the public code, on purpose: the class is fixed at the one selected at
    `initial`; sigma stays in [low, high]; the model is in evaluation mode, so inputs do not touch
    each other through batch normalisation; and an input keeps `initial` unless hard votes, the same
    draws at both ends, say that the end is better. The clamp of the probabilities is `CLAMP`.

    Args:
        initial: where sigma starts: the scale the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        steps: ascent steps K (the paper cross-validates it; its public code has 100 and 900).
        lr: step size (the paper's 1e-4).
        n: fresh draws a step (the paper's 1; 8 for classifiers trained with MACER); those of one
            input go through the model together.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, steps < 0, lr <= 0 or n < 1.
    """

    initial: float
    low: float | None = None
    high: float | None = None
    steps: int = 900
    lr: float = 1e-4
    n: int = 1
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        if self.steps < 0 or not self.lr > 0 or self.n < 1:
            raise ConfigurationError(
                "GradientSigma needs steps >= 0, lr > 0 and n >= 1, "
                f"got steps={self.steps}, lr={self.lr}, n={self.n}"
            )

    @property
    def cost(self) -> int:
        """Forward passes: the ascent, and the votes at both ends."""
        return self.steps * self.n + 2 * CHECK_VOTES

    def choose(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Ascend, then keep the end where it beats the start."""
        together = max(1, classifier.rows_per_batch(inputs.shape) // self.n)
        parts = [
            self._ascend(classifier, inputs.take(rows), selected[rows])
            for rows in (
                list(range(start, min(start + together, len(inputs))))
                for start in range(0, len(inputs), together)
            )
        ]
        end = np.concatenate(parts) if parts else np.empty(0)
        at_start = classifier.count_each(inputs, self.initial, CHECK_VOTES, "gradient-check")
        at_end = classifier.count_each(inputs, end, CHECK_VOTES, "gradient-check")
        rows = np.arange(len(inputs))
        before = self._estimates(
            classifier, np.full_like(end, self.initial), at_start[rows, selected]
        )
        after = self._estimates(classifier, end, at_end[rows, selected])
        return SigmaChoice(
            np.where(after > before, end, self.initial),
            np.full(len(inputs), self.cost, dtype=np.int64),
            np.maximum(before, after),
        )

    def _estimates(
        self, classifier: NoisyClassifier, sigma: Floats, counts: npt.NDArray[np.int64]
    ) -> Floats:
        return np.array(
            [
                estimated_radius(classifier.noise, scale, count, CHECK_VOTES)
                for scale, count in zip(sigma.tolist(), counts.tolist(), strict=True)
            ],
            dtype=np.float64,
        )

    def _ascend(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        low, high = check_range(self.initial, self.low, self.high)
        x = inputs.x.to(classifier.device)
        target = torch.from_numpy(selected).to(classifier.device)
        streams = [inputs.stream(row, "gradient") for row in range(len(inputs))]
        draws = np.empty((len(inputs), self.n, *inputs.shape), dtype=np.float32)
        sigma = torch.full((len(inputs),), self.initial, dtype=torch.float64)
        for _ in range(self.steps):
            self._draw(streams, draws, classifier.noise)
            noise = torch.from_numpy(draws).to(x)
            slope = radius_slope(classifier, x, noise, sigma, target)
            sigma = (sigma + self.lr * slope).clamp(low, high)
            classifier.on_votes(len(inputs) * self.n)
        return sigma.numpy()

    def _draw(self, streams: Sequence[Source], out: npt.NDArray[np.float32], noise: Noise) -> None:
        for stream, piece in zip(streams, out, strict=True):
            stream.fill(piece, noise)


def radius_slope(
    classifier: NoisyClassifier, x: Tensor, draws: Tensor, sigma: Tensor, selected: Tensor
) -> Tensor:
    """`[batch]` float64 derivatives dR/dsigma of `radius_objective` for the given draws.

    Args:
        classifier: the base classifier, frozen.
        x: `[batch, *input]` inputs.
        draws: `[batch, n, *input]` noise at scale 1.
        sigma: `[batch]` noise scales.
        selected: `[batch]` classes.
    """
    batch, n = draws.shape[:2]
    with torch.enable_grad():
        scale = sigma.detach().to(x).requires_grad_()  # `to` alone may return the caller's own
        spread = scale.view(-1, *[1] * (draws.ndim - 1))
        noisy = (x.unsqueeze(1) + spread * draws).flatten(0, 1)
        scores = classifier.scores(noisy).view(batch, n, -1)
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()
        radius = radius_objective(scores, scale, selected, classifier.noise)
        (slope,) = torch.autograd.grad(radius.sum(), scale)
    slope = slope.detach().to("cpu", torch.float64)
    return slope.nan_to_num(0.0, 0.0, 0.0)
