"""What every sigma policy is, and how two values of sigma are compared.

The fields of a policy say in their metadata what the command line shows of them.
"""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:  # they load torch, which takes a second: a policy is described without it
    from ddrs.noise.distributions import Noise
    from ddrs.votes.classifier import NoisyClassifier
    from ddrs.votes.requests import Inputs

__all__ = [
    "HIGH_OPTION",
    "INITIAL_OPTION",
    "LOW_OPTION",
    "SigmaChoice",
    "SigmaPolicy",
    "check_range",
    "estimated_radius",
]

DEFAULT_RANGE_FACTOR = 4.0
"""By default a policy looks between a fourth of `initial` and four times `initial`."""

INITIAL_OPTION = {
    "flag": "--sigma",
    "metavar": "S",
    "help": "Fixed sigma, or where a policy starts. Default: the model's training noise.",
}
LOW_OPTION = {"metavar": "S", "help": "Least sigma of a policy."}
HIGH_OPTION = {"metavar": "S", "help": "Largest sigma of a policy."}


@dataclass(frozen=True)
class SigmaChoice:
    """The sigma chosen for each input.

    Attributes:
        sigma: `[batch]` float64, in the units of the input.
        votes: `[batch]` int64, forward passes spent on the choice.
        radius: `[batch]` float64, the radius that these votes promise at that sigma: an estimate in
            which luck has a part, not a bound; None from a policy that looks at no votes.
    """

    sigma: npt.NDArray[np.float64]
    votes: npt.NDArray[np.int64]
    radius: npt.NDArray[np.float64] | None = None


class SigmaPolicy(Protocol):
    """Chooses a sigma for each input of a batch.

    Attributes:
        per_input: whether the choice depends on the input; if so, certificates of different inputs
            are sound together only through a memory.
    """

    per_input: ClassVar[bool]

    @property
    def initial(self) -> float:
        """The sigma at which the class of each input is selected, and the choice starts."""

    @property
    def cost(self) -> int:
        """The most forward passes that `choose` spends on one input."""

    def choose(
        self, classifier: "NoisyClassifier", inputs: "Inputs", selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Choose for the whole batch; an input's result does not depend on the others.

        Args:
            classifier: the base classifier, frozen.
            inputs: the batch.
            selected: `[batch]` class of each input under noise of sigma `initial`. A sigma at
                which another class wins counts as radius 0: far above its training noise a
                network tends to answer one class, often a wrong one, with great confidence.
        """


def check_range(initial: float, low: float | None, high: float | None) -> tuple[float, float]:
    """The range of sigma, with its defaults filled in.

    Raises:
        ConfigurationError: unless 0 < low <= initial <= high and all are finite.
    """
    low = initial / DEFAULT_RANGE_FACTOR if low is None else low
    high = initial * DEFAULT_RANGE_FACTOR if high is None else high
    if not (0 < low <= initial <= high and isfinite(high)):
        raise ConfigurationError(
            "sigma must satisfy 0 < low <= initial <= high < infinity, "
            f"got {low}, {initial}, {high}"
        )
    return low, high


def estimated_radius(noise: "Noise", sigma: float, count: int, n: int) -> float:
    """Radius that `count` of `n` votes suggest for `sigma`: an estimate, not a bound.

    The probability is estimated by (count + 1/2) / (n + 1), which stays inside (0, 1), so a sigma
    with all votes is not worth infinitely much.
    """
    p = (count + 0.5) / (n + 1)
    return noise.radius(sigma, p, 1 - p)
