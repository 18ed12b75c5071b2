"""The levels of a cascade, as options and records name them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import TypeVar

from ddrs.errors import ConfigurationError

__all__ = ["SIGMAS_OPTION", "Levels", "one_for_each"]

T = TypeVar("T")

SIGMAS_OPTION = {
    "metavar": "S,S,...",
    "help": "Sigma of each level of a cascade, falling, or of each cell of a router.",
}


def one_for_each(values: Sequence[T], count: int, whole: str) -> tuple[T, ...]:
    """`count` values, of as many or of one for all.

    Args:
        values: of the classifiers.
        count: how many there are to be.
        whole: what takes them, for the error; `{}` stands for `count`.

    Raises:
        ConfigurationError: there is another number of them.
    """
    if len(values) not in (1, count):
        raise ConfigurationError(
            f"a {whole.format(count)} takes one classifier for all of them or one for each, got "
            f"{len(values)}"
        )
    return tuple(values) if len(values) == count else (values[0],) * count


@dataclass(frozen=True)
class Levels:
    """The noise scales of a cascade and what a probability has to be above at each.

    Args:
        sigmas: noise scale of each level, none larger than the one before it.
        p0: for each level, or one for all; at least 1/2, so that no two classes are above it.

    Raises:
        ConfigurationError: no levels, rising or impossible values, or another number of them.
    """

    sigmas: tuple[float, ...] = field(default=(), metadata=SIGMAS_OPTION)
    p0: tuple[float, ...] = field(
        default=(0.5,),
        metadata={
            "metavar": "P,P,...",
            "help": "The probability above which a level answers: one for each level, or one for "
            "all. Default: 0.5.",
        },
    )

    def __post_init__(self) -> None:
        if not self.sigmas:
            raise ConfigurationError("a cascade takes the sigma of each level: give --sigmas")
        falling = all(one >= after for one, after in pairwise(self.sigmas))
        if not falling or not all(sigma > 0 and isfinite(sigma) for sigma in self.sigmas):
            raise ConfigurationError(
                "the sigmas of a cascade must be positive and fall from level to level, got "
                f"{list(self.sigmas)}"
            )
        if len(self.p0) not in (1, len(self.sigmas)):
            raise ConfigurationError(
                f"p0 must be one number, or one for each of {len(self.sigmas)} levels, got "
                f"{list(self.p0)}"
            )
        if not all(0.5 <= p0 < 1 for p0 in self.p0):
            raise ConfigurationError(f"p0 must be from 0.5 to below 1, got {list(self.p0)}")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The p0 of each level."""
        return self.per_level(self.p0)

    @property
    def initial(self) -> float:
        """The sigma of the level that is asked first: the largest."""
        return self.sigmas[0]

    @property
    def low(self) -> float:
        """The least sigma."""
        return self.sigmas[-1]

    @property
    def high(self) -> float:
        """The largest sigma."""
        return self.sigmas[0]

    def per_level(self, values: Sequence[T]) -> tuple[T, ...]:
        """One value for each level, of one for each or one for all.

        Raises:
            ConfigurationError: there is another number of them.
        """
        return one_for_each(values, len(self.sigmas), "cascade of {} levels")

    def joint_digest(self, digests: Sequence[str]) -> str:
        """SHA-256 of the cascade: of its classifiers, sigmas and p0.

        Args:
            digests: that of the classifier of each level, or of the one for all.
        """
        levels = list(zip(self.per_level(digests), self.sigmas, self.thresholds, strict=True))
        return hashlib.sha256(json.dumps(["cascade", levels]).encode()).hexdigest()
