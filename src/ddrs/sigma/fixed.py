"""One sigma for all inputs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ddrs.sigma.policy import INITIAL_OPTION, SigmaChoice, check_range

if TYPE_CHECKING:  # they load torch, which takes a second: a policy is described without it
    from ddrs.votes.classifier import NoisyClassifier
    from ddrs.votes.requests import Inputs

__all__ = ["FixedSigma"]


@dataclass(frozen=True)
class FixedSigma:
    """The same sigma for every input, as in Cohen et al. (2019).

    Args:
        sigma: noise scale, in the units of the input.

    Raises:
        ConfigurationError: sigma is not positive and finite.
    """

    sigma: float = field(metadata=INITIAL_OPTION)
    per_input: ClassVar[bool] = False
    cost: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_range(self.sigma, self.sigma, self.sigma)

    @property
    def initial(self) -> float:
        """The one sigma."""
        return self.sigma

    def choose(
        self, classifier: "NoisyClassifier", inputs: "Inputs", selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """The one sigma, at no cost."""
        return SigmaChoice(np.full(len(inputs), self.sigma), np.zeros(len(inputs), np.int64))
