"""What a calibration allows: for each classifier the largest sigma that its policy may choose.

Far above the noise of its training a network answers one class for nearly everything. A memory
makes such answers sound, and they say nothing of robustness. `smoothing.calibration` finds where
that begins; the policies keep below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ddrs.errors import ConfigurationError
from ddrs.sigma.policy import check_range

if TYPE_CHECKING:  # they load torch or import this module
    from ddrs.sigma.gradient import GradientSigma
    from ddrs.sigma.search import SearchSigma
    from ddrs.votes.classifier import NoisyClassifier

    P = TypeVar("P", GradientSigma, SearchSigma)

__all__ = ["Guard", "Limit", "limited"]


@dataclass(frozen=True)
class Limit:
    """The largest sigma of one classifier.

    Attributes:
        model_digest: SHA-256 of the classifier.
        high: the sigma.
    """

    model_digest: str
    high: float


@dataclass(frozen=True)
class Guard:
    """The limits of a calibration, as policies and configurations hold them.

    Attributes:
        digest: SHA-256 of the calibration.
        noise: name of the smoothing distribution that it was made with.
        limits: one for each classifier that was calibrated.
    """

    digest: str
    noise: str
    limits: tuple[Limit, ...]

    @property
    def high(self) -> float:
        """The largest sigma that any of the classifiers may get."""
        return max(limit.high for limit in self.limits)

    @property
    def low(self) -> float:
        """The least of the limits."""
        return min(limit.high for limit in self.limits)

    def limit(self, classifier: "NoisyClassifier") -> float:
        """The largest sigma of a classifier.

        Raises:
            ConfigurationError: it was not calibrated, or with other noise.
        """
        self.check([classifier])
        return {each.model_digest: each.high for each in self.limits}[classifier.digest]

    def check(self, classifiers: "Sequence[NoisyClassifier]") -> None:
        """Refuse classifiers that were not calibrated.

        Raises:
            ConfigurationError: one is another, or its noise is.
        """
        known = {each.model_digest for each in self.limits}
        for classifier in classifiers:
            if classifier.noise.name != self.noise:
                raise ConfigurationError(
                    f"the calibration was made with {self.noise} noise, not with "
                    f"{classifier.noise.name}: calibrate again with this noise"
                )
            if classifier.digest not in known:
                raise ConfigurationError(
                    f"the calibration is of other networks, not of {classifier.digest[:12]}: "
                    "calibrate this one, in the same precision"
                )


def limited(policy: "P", classifier: "NoisyClassifier") -> "P":
    """The policy as a calibration allows it for one classifier; the same one without any.

    Where even the start lies above the limit, the policy starts at the limit.

    Raises:
        ConfigurationError: the calibration is of another classifier or noise.
    """
    if policy.calibration is None:
        return policy
    limit = policy.calibration.limit(classifier)
    low, high = check_range(policy.initial, policy.low, policy.high)
    return replace(
        policy,
        initial=min(policy.initial, limit),
        low=min(low, limit),
        high=min(high, limit),
        calibration=None,
    )
