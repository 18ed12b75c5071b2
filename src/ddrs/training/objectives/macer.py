"""MACER: maximising the certified radius of the soft smoothed classifier (Zhai et al. 2020)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError
from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import Noise
from ddrs.training.objectives.noisy import draw, smoothed_loss

__all__ = ["Macer", "macer_loss", "robustness_loss"]

LARGEST_GAMMA = 10.0
"""Up to here nothing needs a clamp: a gap of at most 10 means q_y <= Phi(5) = 1 - 2.9e-7, so Phi^-1
and its derivative are finite in single precision at q_y and at the largest other q."""


def robustness_loss(
    scores: Tensor, y: Tensor, sigma: Tensor, noise: Noise, *, beta: float, gamma: float
) -> Tensor:
    """`[batch]` losses L_R = sigma/2 (gamma - gap) where they count, 0 elsewhere.

    q = mean over copies of softmax(beta z), and gap is the noise's certified radius of (q_y, the
    largest other q), in units of sigma/2: Phi^-1(q_y) - Phi^-1(q_other) for Gaussian noise and
    2 (q_y - q_other) for uniform noise. An example counts where y has the largest q and
    gap <= gamma. An infinite gap (q_y = 1 or q_other = 0 as stored) does not, and adds no gradient.

    Args:
        scores: `[batch, k, classes]` scores at k noisy copies.
        y: `[batch]` labels.
        sigma: `[batch]` sigma of each example.
        noise: the smoothing distribution, whose radius formula is used.
        beta: inverse temperature.
        gamma: gap from which on an example is robust enough.
    """
    exact = scores.to(torch.promote_types(scores.dtype, torch.float32))
    q = (beta * exact).softmax(-1).mean(1)
    labels = y.unsqueeze(1)
    top = q.gather(1, labels).squeeze(1)
    other = q.scatter(1, labels, 0.0).amax(1)
    two = torch.full_like(top, 2.0)
    with torch.no_grad():
        counts = (top > other) & (noise.soft_radius(two, top, other) <= gamma)
    # What does not count is replaced before Phi^-1: its infinite derivative times 0 would be NaN.
    safe = torch.full_like(top, 0.5)
    gap = noise.soft_radius(two, torch.where(counts, top, safe), torch.where(counts, other, safe))
    return torch.where(counts, sigma.to(q) / 2 * (gamma - gap), 0.0)


def macer_loss(
    scores: Tensor,
    y: Tensor,
    sigma: Tensor,
    noise: Noise,
    *,
    beta: float,
    gamma: float,
    weight: float,
) -> Tensor:
    """`[batch]` losses -log(mean softmax_y) + weight L_R; arguments as in `robustness_loss`."""
    robustness = robustness_loss(scores, y, sigma, noise, beta=beta, gamma=gamma)
    return smoothed_loss(scores, y) + weight * robustness


@dataclass(frozen=True)
class Macer:
    """The mean of `macer_loss` over k noisy copies of each example.

    Args:
        k: noise draws per example.
        weight: weight lambda of the robustness loss.
        gamma: gap from which on an example is robust enough, at most 10.
        beta: inverse temperature of the softmax in the robustness loss.

    Raises:
        ConfigurationError: a value that can never work.
    """

    k: int = 16
    weight: float = 12.0
    gamma: float = 8.0
    beta: float = 16.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigurationError(f"Macer needs k >= 1, got {self.k}")
        if not 0 < self.gamma <= LARGEST_GAMMA:
            raise ConfigurationError(
                f"gamma must be above 0 and at most {LARGEST_GAMMA:g}, got {self.gamma}"
            )
        if not 0 <= self.weight < float("inf") or not 0 < self.beta < float("inf"):
            raise ConfigurationError(
                "Macer needs a finite weight >= 0 and beta > 0, "
                f"got weight={self.weight}, beta={self.beta}"
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
        scores = noisy_scores(model, x, sigma, draw(x, self.k, noise, generator))
        loss = macer_loss(
            scores, y, sigma, noise, beta=self.beta, gamma=self.gamma, weight=self.weight
        )
        return loss.mean(), scores[:, 0]

    def at_epoch(self, epoch: int) -> "Macer":
        """Itself."""
        return self

    @property
    def passes(self) -> float:
        """One forward and one backward pass for each of the k draws."""
        return float(self.k)
