"""Smoothing distributions: how to sample one, and the radius that probabilities under it prove.

Nothing here needs torch or SciPy until a radius is asked for: commands name a noise without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from ddrs.errors import ConfigurationError
from ddrs.noise.streams import Draws

if TYPE_CHECKING:
    import torch

__all__ = ["NOISES", "SAFETY", "Gaussian", "Noise", "Norm", "Uniform", "noise_for_norm"]

Norm = Literal["l2", "l1"]

# The special functions used, here and in the probability bounds, are accurate to about 1e-15 (the
# tests compare them with 50 digits); giving up this share of every figure that a radius is made of
# puts the rounding on the safe side by orders of magnitude.
SAFETY = 1e-12


class Noise(Protocol):
    """A smoothing distribution with noise scale `sigma`.

    Attributes:
        name: what it is called in commands and records.
        norm: the norm in which it certifies.
    """

    name: ClassVar[str]
    norm: ClassVar[Norm]

    def sample(self, generator: np.random.Generator, out: Draws) -> None:
        """Fill `out`, `[draws, *shape]` and C-contiguous, with draws at sigma 1, one by one.

        They have the precision of `out`, float32 or float64: a network of float64 inputs could
        tell coarser noise from the inputs.
        """

    def sample_like(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws at sigma 1 in the shape, dtype and device of `x`: for training, not for votes."""

    def radius(self, sigma: float, p_lower: float, p_upper: float) -> float:
        """Certified radius at `sigma`, rounded down; 0 where nothing is proved.

        Args:
            sigma: the noise scale, in the units of the input.
            p_lower: lower bound of the top class's probability under noise.
            p_upper: upper bound of every other class's probability under noise.
        """

    def soft_radius(
        self, sigma: torch.Tensor, p_top: torch.Tensor, p_other: torch.Tensor
    ) -> torch.Tensor:
        """The same formula, differentiable and elementwise: the objective of Algorithm 1."""


@dataclass(frozen=True)
class Gaussian:
    """N(0, sigma^2 I), which certifies l2 balls (Cohen et al. 2019, Theorem 1)."""

    name: ClassVar[str] = "gaussian"
    norm: ClassVar[Norm] = "l2"

    def sample(self, generator: np.random.Generator, out: Draws) -> None:
        """Fill `out` with standard normal draws, by the transform of Box and Muller (1958).

        NumPy's own method draws one value after the other; this one takes half the time because it
        works on whole arrays. Each draw takes ceil(size / 2) words of 64 bits: half of a word
        gives the angle of a pair of normals and half their distance from 0, which 32 bits let
        reach 6.66. Draws in float64 are NumPy's own.
        """
        if out.dtype == np.float64:
            generator.standard_normal(out=out)
            return
        flat = out.reshape(len(out), -1)
        size = flat.shape[1]
        pairs = (size + 1) // 2
        words = generator.bit_generator.random_raw(len(out) * pairs)
        bits = words.view(np.int32).astype(np.float32).reshape(len(out), 2, pairs)
        angle, tail = bits[:, 0], bits[:, 1]
        angle *= np.float32(np.pi / 2**31)
        np.abs(tail, out=tail)
        tail += np.float32(0.5)
        tail *= np.float32(2**-31)  # uniform on (0, 1]
        distance = np.sqrt(-2 * np.log(tail))
        np.multiply(np.cos(angle), distance, out=flat[:, :pairs])
        np.multiply(
            np.sin(angle)[:, : size - pairs], distance[:, : size - pairs], out=flat[:, pairs:]
        )

    def sample_like(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Standard normal draws in the shape, dtype and device of `x`."""
        return x.new_empty(x.shape).normal_(generator=generator)

    def radius(self, sigma: float, p_lower: float, p_upper: float) -> float:
        """sigma/2 (Phi^-1(p_lower) - Phi^-1(p_upper)), rounded down."""
        from scipy import special

        top, other = float(special.ndtri(p_lower)), float(special.ndtri(p_upper))
        # A share of each quantile, not of their difference, which can lose most of its digits.
        slack = SAFETY * (abs(top) + abs(other))
        return max(0.0, sigma / 2 * (top - other - slack))

    def soft_radius(
        self, sigma: torch.Tensor, p_top: torch.Tensor, p_other: torch.Tensor
    ) -> torch.Tensor:
        """sigma/2 (Phi^-1(p_top) - Phi^-1(p_other)) (DDRS, Equation 2)."""
        from torch.special import ndtri

        gap: torch.Tensor = ndtri(p_top) - ndtri(p_other)
        return sigma / 2 * gap


@dataclass(frozen=True)
class Uniform:
    """U[-sigma, sigma]^d, which certifies l1 balls (Yang et al. 2020).

    `sigma` is the half-width lambda; the standard deviation is sigma / sqrt(3).
    """

    name: ClassVar[str] = "uniform"
    norm: ClassVar[Norm] = "l1"

    def sample(self, generator: np.random.Generator, out: Draws) -> None:
        """Fill `out` with draws uniform on [-1, 1)."""
        generator.random(out=out, dtype=out.dtype)  # type: ignore[arg-type]
        np.multiply(out, 2, out=out)
        np.subtract(out, 1, out=out)

    def sample_like(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws uniform on [-1, 1) in the shape, dtype and device of `x`."""
        return x.new_empty(x.shape).uniform_(-1, 1, generator=generator)

    def radius(self, sigma: float, p_lower: float, p_upper: float) -> float:
        """The radius sigma (p_lower - p_upper), rounded down."""
        return max(0.0, sigma * (p_lower - p_upper) * (1 - SAFETY))

    def soft_radius(
        self, sigma: torch.Tensor, p_top: torch.Tensor, p_other: torch.Tensor
    ) -> torch.Tensor:
        """The radius sigma (p_top - p_other), differentiable."""
        return sigma * (p_top - p_other)


NOISES: dict[str, Noise] = {noise.name: noise for noise in (Gaussian(), Uniform())}
"""Every smoothing distribution by its name."""


def noise_for_norm(norm: str) -> Noise:
    """The distribution that certifies `norm`; ConfigurationError if there is none."""
    for noise in NOISES.values():
        if noise.norm == norm:
            return noise
    raise ConfigurationError(f"no noise certifies the norm {norm!r}; known norms: l2, l1")
