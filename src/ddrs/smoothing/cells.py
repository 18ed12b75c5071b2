"""The cells that a router picks from, as options and records name them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from ddrs.errors import ConfigurationError
from ddrs.smoothing.levels import SIGMAS_OPTION, one_for_each

__all__ = ["Cells"]


@dataclass(frozen=True)
class Cells:
    """The noise scales of the cells, and the router that picks one for each input.

    Args:
        sigmas: noise scale of each cell, in the order of the router's scores.
        router: spec of the router, as a command names it.
        router_sigma: noise scale of the router; None for the largest of `sigmas`.

    Raises:
        ConfigurationError: fewer than two cells, or a noise scale that is not positive and finite.
    """

    sigmas: tuple[float, ...] = field(default=(), metadata=SIGMAS_OPTION)
    router: str | None = field(
        default=None,
        metadata={
            "metavar": "SPEC",
            "help": "The network that picks a sigma: as for --model, with a score for each of "
            "--sigmas.",
        },
    )
    router_sigma: float | None = field(
        default=None,
        metadata={
            "metavar": "S",
            "help": "Noise of the router. Default: the largest of --sigmas.",
        },
    )

    def __post_init__(self) -> None:
        if len(self.sigmas) < 2:
            raise ConfigurationError(
                "a router picks one of two cells or more: give --sigmas the sigma of each"
            )
        for sigma in (*self.sigmas, self.scale):
            if not (sigma > 0 and isfinite(sigma)):
                raise ConfigurationError(
                    f"the sigmas of cells and router must be positive and finite, got {sigma}"
                )

    @property
    def scale(self) -> float:
        """The noise scale of the router."""
        return self.high if self.router_sigma is None else self.router_sigma

    @property
    def initial(self) -> float:
        """The largest sigma of a cell; none is asked first."""
        return self.high

    @property
    def low(self) -> float:
        """The least sigma of a cell."""
        return min(self.sigmas)

    @property
    def high(self) -> float:
        """The largest sigma of a cell."""
        return max(self.sigmas)

    def cells(self, digests: Sequence[str]) -> list[tuple[str, float]]:
        """Classifier and sigma of each cell.

        Args:
            digests: that of the classifier of each cell or of the one for all, then the router's.

        Raises:
            ConfigurationError: another number of classifiers, or a cell that is there twice.
        """
        classifiers = one_for_each(digests[:-1], len(self.sigmas), "router over {} cells")
        found = list(zip(classifiers, self.sigmas, strict=True))
        if len(set(found)) < len(found):
            raise ConfigurationError(
                "two cells of the router are one classifier at one sigma: give each cell once"
            )
        return found

    def joint_digest(self, digests: Sequence[str]) -> str:
        """SHA-256 of what is certified: of the router, its sigma, and the cells.

        Args:
            digests: as for `cells`.
        """
        parts = ["routed", digests[-1], self.scale, self.cells(digests)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
