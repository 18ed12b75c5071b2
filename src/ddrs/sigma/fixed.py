"""One noise scale for all inputs."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ddrs.sigma.policy import INITIAL_OPTION, SigmaChoice, check_range
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["FixedSigma"]


@dataclass(frozen=True)
class FixedSigma:
    """The same scale for every input, as in Cohen et al. (2019).

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
        """The one scale."""
        return self.sigma

    def choose(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """The one scale, at no cost."""
        return SigmaChoice(np.full(len(inputs), self.sigma), np.zeros(len(inputs), np.int64))
