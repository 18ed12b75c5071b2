"""One classifier or several: which of them, and at which sigma, is certified at each input.

A certificate holds for the base classifier and the sigma that its votes were cast with. What lets
sigma differ between inputs, a memory of certified regions (DDRS, section 3.5), lets the classifier
differ just as well: a region's answer is that of its own smoothed classifier, whichever that is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.proof.stopping import Estimation
from ddrs.sigma.policy import SigmaPolicy
from ddrs.smoothing.bases import Bases
from ddrs.smoothing.estimation import estimate
from ddrs.smoothing.joint import joint_digest
from ddrs.smoothing.selection import Selection, check_selection
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["Alternatives", "Choice"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What is to be certified at each input of a batch; every field is `[batch]`.

    Attributes:
        classifier: index of the base classifier.
        sigma: noise scale.
        selected: class.
        votes: forward passes spent on the choice, those that select the class included.
    """

    classifier: Ints
    sigma: npt.NDArray[np.float64]
    selected: Ints
    votes: Ints


class Alternatives(Bases):
    """The base classifiers that each input is given one of.

    Args:
        classifiers: under the same noise and with the same classes.
        policy: chooses sigma for a classifier and an input.
        n0: votes of a classifier that select the class.
        selection: whose votes select it.

    Attributes:
        classifiers: as they were given.
        digest: SHA-256 of what is certified: that of the one classifier, or of all in their order.
        told: the digest that earlier versions had for it.

    Raises:
        ConfigurationError: no classifiers, the same one twice, no votes to select the class, a
            policy that cannot choose among several, an unknown selection or `"all"` of one, or a
            policy whose calibration is of other classifiers or noise.
    """

    def __init__(
        self,
        classifiers: Sequence[NoisyClassifier],
        policy: SigmaPolicy,
        n0: int,
        selection: Selection = "first",
    ) -> None:
        check_selection(selection, len(classifiers))
        if n0 < 1:
            raise ConfigurationError(f"n0 must be at least 1 vote, got n0={n0}")
        digests = [classifier.digest for classifier in classifiers]
        if not classifiers or len(set(digests)) < len(digests):
            raise ConfigurationError(
                f"classifiers to choose from must be one or more, all different, got {len(digests)}"
            )
        if len(classifiers) > 1 and not policy.per_input:
            raise ConfigurationError(
                "to choose among classifiers takes a policy that looks at each input, such as "
                "SearchSigma; a fixed sigma takes one classifier"
            )
        calibration = getattr(policy, "calibration", None)
        if calibration is not None:
            calibration.check(classifiers)
        super().__init__(classifiers)
        self.policy = policy
        self.n0 = n0
        self._selecting = classifiers if selection == "all" else classifiers[:1]
        self.digest = joint_digest(digests)
        self.told = joint_digest([classifier.told for classifier in classifiers])

    @property
    def alone(self) -> bool:
        """Whether the certificates of different inputs are of one smoothed classifier."""
        return not self.policy.per_input

    @property
    def cost(self) -> int:
        """The most forward passes that the choice for one input takes."""
        return len(self._selecting) * self.n0 + len(self.classifiers) * self.policy.cost

    def select(self, inputs: Inputs) -> Ints:
        """`[batch]` the class of each input: the one with most of `n0` votes at the policy's start.

        Args:
            inputs: the batch.

        Raises:
            ModelError: a classifier failed, or is no longer the one that was smoothed.
        """
        self.check_unchanged()
        counts = [
            classifier.count_each(inputs, self.policy.initial, self.n0, "selection")
            for classifier in self._selecting
        ]
        selected: Ints = np.sum(counts, axis=0).argmax(axis=1)
        return selected

    def choose(self, inputs: Inputs, selected: Ints) -> Choice:
        """Choose a sigma for every classifier, and the classifier with the largest radius.

        The radius is what a classifier's votes for the selected class promise.

        Args:
            inputs: the batch.
            selected: `[batch]` class of each input.

        Raises:
            ModelError: a classifier failed.
        """
        choices = [
            self.policy.choose(classifier, inputs, selected) for classifier in self.classifiers
        ]
        best = _largest([choice.radius for choice in choices], len(inputs))
        rows = np.arange(len(inputs))
        selection = len(self._selecting) * self.n0
        return Choice(
            classifier=best,
            sigma=np.stack([choice.sigma for choice in choices])[best, rows],
            selected=selected,
            votes=selection + np.sum([choice.votes for choice in choices], axis=0),
        )

    def estimate(self, inputs: Inputs, choice: Choice, estimation: Estimation) -> Ints:
        """`[batch, num_classes]` estimation votes of the chosen classifier at the chosen sigma."""
        return self._by_classifier(
            choice,
            lambda classifier, rows: estimate(
                classifier,
                inputs.take(rows),
                choice.sigma[rows],
                choice.selected[rows],
                estimation,
            ),
        )

    def count_each(self, inputs: Inputs, choice: Choice, n: int, stage: str) -> Ints:
        """`[batch, num_classes]` counts of `n` votes at every input, as `NoisyClassifier` does."""
        return self._by_classifier(
            choice,
            lambda classifier, rows: classifier.count_each(
                inputs.take(rows), choice.sigma[rows], n, stage
            ),
        )

    def digest_of(self, choice: Choice, row: int) -> str:
        """SHA-256 of the classifier chosen for the input at `row`."""
        digest: str = self.classifiers[choice.classifier[row]].digest
        return digest

    def _by_classifier(
        self, choice: Choice, count: Callable[[NoisyClassifier, list[int]], Ints]
    ) -> Ints:
        counts = np.zeros((len(choice.classifier), self.classifiers[0].num_classes), np.int64)
        for index in np.unique(choice.classifier):
            rows = np.flatnonzero(choice.classifier == index).tolist()
            counts[rows] = count(self.classifiers[index], rows)
        return counts


def _largest(radii: Sequence[npt.NDArray[np.float64] | None], inputs: int) -> Ints:
    """`[batch]` index of the first largest radius; all 0 where there is nothing to choose from."""
    if len(radii) == 1:
        return np.zeros(inputs, dtype=np.int64)
    known = [radius for radius in radii if radius is not None]
    if len(known) < len(radii):
        raise ConfigurationError(
            "to choose among classifiers takes a policy whose SigmaChoice has the radius, such as "
            "SearchSigma"
        )
    largest: Ints = np.stack(known).argmax(axis=0)
    return largest
