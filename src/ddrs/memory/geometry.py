"""Distances that decide exactly: float64 as a filter, integers where the filter cannot settle it.

Every float64 is an integer multiple of 2^-1074, the smallest subnormal: one *unit*. In units a
radius is an integer, an l1 distance is an integer, and a squared l2 distance is an integer whose
square root `math.isqrt` rounds correctly. Comparisons are therefore decided in exact arithmetic
and a radius is the exact value rounded down to float64, at any magnitude. Integers are slow, so
float64 distances with a proved error bound settle all but the close cases first, in the manner of
Shewchuk's adaptive predicates.
"""

import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import Norm

__all__ = ["Array", "Distance", "distance_bounds", "from_units", "parse_norm", "to_units"]

Array = npt.NDArray[np.float64]

UNIT_EXPONENT = 1074  # one unit is 2^-UNIT_EXPONENT

# Outside these computed distances a square may underflow or overflow, and the error bound is void.
SAFE_LOW, SAFE_HIGH = 1e-140, 1e140


def parse_norm(name: object) -> Norm:
    """The norm of this name.

    Raises:
        ConfigurationError: a memory cannot measure distances in it.
    """
    if name == "l1":
        return "l1"
    if name == "l2":
        return "l2"
    raise ConfigurationError(f"unknown norm {name!r}: use 'l1' or 'l2'")


def to_units(value: float) -> int:
    """A finite float64 as its exact number of units."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_EXPONENT + 1 - denominator.bit_length())


def from_units(number: int) -> float:
    """The largest float64 that is at most `number >= 0` units."""
    excess = max(number.bit_length() - 53, 0)
    if excess + 53 > UNIT_EXPONENT + 1024:
        return sys.float_info.max
    return math.ldexp(number >> excess, excess - UNIT_EXPONENT)


def distance_bounds(centres: npt.NDArray[Any], x: Array, norm: Norm) -> tuple[Array, Array]:
    """Float64 bounds of the distances between rows and a point: `lower <= |centre - x| <= upper`.

    A difference, a square and a sum of d non-negative terms in any order err by less than
    (d + 2) u relatively (u = 2^-53), whose root and rounding stay below (d + 8) 2u.

    Args:
        centres: `[m, d]`, values exact in float64.
        x: `[d]`.
        norm: `"l1"` or `"l2"`.

    Returns:
        lower, upper: `[m]` each.
    """
    with np.errstate(over="ignore", under="ignore"):
        difference = np.subtract(centres, x, dtype=np.float64)
        if norm == "l2":
            distance = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        else:
            distance = np.abs(difference).sum(axis=1)
        error = (len(x) + 8) * 2.0**-52
        lower, upper = distance * (1 - error), distance * (1 + error)
    small, large = distance < SAFE_LOW, distance > SAFE_HIGH
    lower[small], upper[small] = 0.0, 10 * SAFE_LOW
    lower[large], upper[large] = SAFE_HIGH / 10, math.inf
    return lower, upper


@dataclass(eq=False)
class Distance:
    """The distance between two points: an interval that becomes exact when it has to.

    Attributes:
        a: `[d]`, values exact in float64.
        b: `[d]`, values exact in float64.
        norm: `"l1"` or `"l2"`.
        lower: a float64 that is at most the distance.
        upper: a float64 that is at least the distance.
    """

    a: npt.NDArray[Any]
    b: npt.NDArray[Any]
    norm: Norm
    lower: float
    upper: float

    def at_least(self, first: float, second: float = 0.0) -> bool:
        """Whether the distance is `>= first + second` in exact arithmetic."""
        threshold = first + second
        if self.lower >= math.nextafter(threshold, math.inf):
            return True
        if self.upper < math.nextafter(threshold, -math.inf):
            return False
        exact = to_units(first) + to_units(second)
        if self.norm == "l1" or exact <= 0:
            return self._measure >= exact
        return self._measure >= exact * exact

    @cached_property
    def floor(self) -> int:
        """The distance in units, rounded down."""
        return self._measure if self.norm == "l1" else math.isqrt(self._measure)

    @cached_property
    def ceil(self) -> int:
        """The distance in units, rounded up; equal to `floor` if and only if it is rational."""
        if self.norm == "l1" or self._measure == self.floor**2:
            return self.floor
        return self.floor + 1

    @cached_property
    def _measure(self) -> int:
        """The l1 distance in units, or the squared l2 distance in squared units."""
        d = len(self.a)
        integers: list[int]
        mantissa, exponent = np.frexp(np.concatenate([self.a, self.b], dtype=np.float64))
        shifts = exponent.astype(np.int64) - 53 + UNIT_EXPONENT
        base = max(int(shifts.min()), 0)  # keeps the integers short: they share this exponent
        integers = [
            n << s if s >= 0 else n >> -s  # subnormals only: what falls off is zeros
            for n, s in zip(
                (mantissa * 2.0**53).astype(np.int64).tolist(),
                (shifts - base).tolist(),
                strict=True,
            )
        ]
        differences = (p - q for p, q in zip(integers[:d], integers[d:], strict=True))
        if self.norm == "l1":
            return sum(map(abs, differences)) << base
        return sum(v * v for v in differences) << (2 * base)
