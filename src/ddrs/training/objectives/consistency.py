"""Consistency of the scores under noise (Jeong & Shin 2020), around cross-entropy."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError
from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import Noise
from ddrs.training.objectives.noisy import draw

__all__ = ["Consistency", "consistency_loss"]

LOWEST_SCORE = -1e30  # no probability is left by then, and products with 0 are still 0


def consistency_loss(scores: Tensor, y: Tensor, *, weight: float, eta: float) -> Tensor:
    """`[batch]` losses mean_i CE(p_i, y) + weight mean_i KL(pbar || p_i) + eta H(pbar).

    p_i is the softmax at copy i and pbar their mean, which is an estimate of the smoothed
    classifier's probabilities: the KL term asks the copies to agree, the entropy to be certain.
    Everything is computed from logarithms, so that a vanishing probability has a finite gradient.

    Args:
        scores: `[batch, m, classes]` scores at m noisy copies.
        y: `[batch]` int64 labels.
        weight: lambda of the paper.
        eta: weight of the entropy.
    """
    copies = scores.shape[1]
    exact = scores.to(torch.promote_types(scores.dtype, torch.float32)).clamp(min=LOWEST_SCORE)
    log_p = exact.log_softmax(-1)
    log_mean = log_p.logsumexp(1) - math.log(copies)
    mean = log_mean.exp()
    labels = y.view(-1, 1, 1).expand(-1, copies, 1)
    cross_entropy = -log_p.gather(-1, labels).mean((1, 2))
    divergence = (mean * (log_mean - log_p.mean(1))).sum(-1)
    entropy = -(mean * log_mean).sum(-1)
    return cross_entropy + weight * divergence + eta * entropy


@dataclass(frozen=True)
class Consistency:
    """The mean of `consistency_loss` over m noisy copies of each example.

    Args:
        m: noise draws per example, at least 2.
        weight: weight lambda of the divergence between copies.
        eta: weight of the entropy of their mean.

    Raises:
        ConfigurationError: a value that can never work.
    """

    m: int = 2
    weight: float = 20.0
    eta: float = 0.5

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ConfigurationError(f"Consistency compares copies: it needs m >= 2, got {self.m}")
        if not (0 <= self.weight < float("inf") and 0 <= self.eta < float("inf")):
            raise ConfigurationError(
                "Consistency needs a finite weight >= 0 and eta >= 0, "
                f"got weight={self.weight}, eta={self.eta}"
            )

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
        scores = noisy_scores(model, x, sigma, draw(x, self.m, noise, generator))
        loss = consistency_loss(scores, y, weight=self.weight, eta=self.eta)
        return loss.mean(), scores[:, 0]

    def at_epoch(self, epoch: int) -> "Consistency":
        """Itself."""
        return self

    @property
    def passes(self) -> float:
        """One forward and one backward pass for each of the m draws."""
        return float(self.m)
