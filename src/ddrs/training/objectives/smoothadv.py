"""SmoothAdv: adversarial training of the smoothed classifier (Salman et al. 2019)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, InputError
from ddrs.networks.frozen import frozen
from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import Noise
from ddrs.training.objectives.attacks import ATTACKS
from ddrs.training.objectives.noisy import draw

__all__ = ["SmoothAdv", "adversarial_examples"]

ATTACK_PASS = 2 / 3
"""Cost of an attack step relative to a training step: the gradients of the weights, one of the
three passes that are about equally long (forward, inputs, weights), are left out."""


def adversarial_examples(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sigma: Tensor,
    draws: Tensor,
    *,
    attack: str,
    epsilon: Tensor,
    steps: int,
) -> Tensor:
    """Points x' near x that maximise -log(mean over draws e of softmax f_y(x' + sigma e)).

    The model is in evaluation mode and its weights are frozen meanwhile; afterwards mode,
    `requires_grad`, `.grad` and buffers are as they were, also if the model raises.

    Args:
        model: the base classifier.
        x: `[batch, *input]` inputs in [0, 1].
        y: `[batch]` labels.
        sigma: `[batch]` sigma of each example.
        draws: `[batch, m, *input]` noise e at sigma 1, the same for every step.
        attack: a name in `ATTACKS`.
        epsilon: `[batch]` l2 radius of each input's ball, in the units of the input.
        steps: gradients to take.

    Returns:
        `[batch, *input]` points in the ball and in [0, 1].

    Raises:
        InputError: inputs outside [0, 1].
    """
    low, high = x.min().item(), x.max().item()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"smoothadv attacks inputs in [0, 1], got values from {low:.6g} to {high:.6g}; "
            "scale the data, or train with another method"
        )
    with frozen(model) as network:

        def scores(point: Tensor) -> Tensor:
            return noisy_scores(network, point, sigma, draws)

        return ATTACKS[attack](scores, x, y, epsilon.to(x), steps)


@dataclass(frozen=True)
class SmoothAdv:
    """Mean cross-entropy at x' + sigma e_i, x' adversarial to the smoothed classifier.

    The m draws e_i that the attack used are those of the training pass. The ball is the l2 ball
    whatever the noise is: for `Uniform`, which certifies l1 balls, it holds the l1 ball of the
    same radius and much more, so a smaller epsilon is in place.

    Where sigma differs between examples the certified radii differ with it, and one ball for all is
    too small for some and too large for others. `relative` gives each example a ball in proportion
    to its sigma, which is no part of the paper.

    Args:
        attack: `"pgd"` or `"ddn"`.
        epsilon: l2 radius of the attack, in the units of the input, or of sigma if `relative`.
        steps: attack steps T; DDN needs at least 2, because it never takes its last point.
        m: noise draws per example.
        warmup: epsilon rises in equal parts over this many epochs; 1 is none.
        relative: epsilon is in units of each example's sigma.

    Raises:
        ConfigurationError: a value that can never work.
    """

    attack: str = "pgd"
    epsilon: float = 0.25
    steps: int = 2
    m: int = 1
    warmup: int = 1
    relative: bool = False

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise ConfigurationError(
                f"attack must be one of {', '.join(ATTACKS)}, got {self.attack!r}"
            )
        if not 0 < self.epsilon < float("inf"):
            raise ConfigurationError(f"epsilon must be finite and above 0, got {self.epsilon}")
        least = 2 if self.attack == "ddn" else 1
        if self.steps < least or self.m < 1 or self.warmup < 1:
            raise ConfigurationError(
                f"SmoothAdv with {self.attack} needs steps >= {least}, m >= 1 and warmup >= 1, "
                f"got steps={self.steps}, m={self.m}, warmup={self.warmup}"
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
        """See `Objective`; the warm-up is not applied here but by `at_epoch`."""
        draws = draw(x, self.m, noise, generator)
        epsilon = self.epsilon * (sigma if self.relative else torch.ones_like(sigma))
        attacked = adversarial_examples(
            model, x, y, sigma, draws, attack=self.attack, epsilon=epsilon, steps=self.steps
        )
        scores = noisy_scores(model, attacked, sigma, draws)
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), y.repeat_interleave(self.m))
        return loss, scores[:, 0]

    def at_epoch(self, epoch: int) -> "SmoothAdv":
        """This with epsilon (epoch + 1) / warmup, until that reaches epsilon."""
        share = min(1.0, (epoch + 1) / self.warmup)
        return replace(self, epsilon=self.epsilon * share, warmup=1)

    @property
    def passes(self) -> float:
        """The training pass and the attack's, for each of the m draws."""
        return self.m * (1 + self.steps * ATTACK_PASS)
