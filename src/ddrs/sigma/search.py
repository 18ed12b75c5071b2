"""A search over a geometric grid of sigmas that needs forward passes and hard votes only."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError
from ddrs.sigma.policy import SigmaChoice, check_range, estimated_radius
from ddrs.votes import Inputs, NoisyClassifier, VoteRequest

__all__ = ["SearchSigma"]

GRID = 16  # scales besides the initial one
ROUNDS = 4  # halvings: 16, 8, 4, 2 candidates


@dataclass
class _Candidate:
    """One scale for one input, with the votes that it has so far."""

    request: VoteRequest
    count: int = 0
    n: int = 0
    estimate: float = 0.0


@dataclass(frozen=True)
class SearchSigma:
    """Successive halving over a geometric grid of scales, with common draws.

    Each round gives every candidate of an input the same further draws, scaled by its sigma, and
    keeps the half with the largest estimated radius of the selected class. `initial` is a candidate
    that is never dropped, so by its own estimate the search never ends below the start; ties go to
    it. Votes are hard, so the estimate is of the very quantity that is certified.

    Args:
        initial: the scale the classifier was trained with.
        low: least sigma; a quarter of `initial` by default.
        high: largest sigma; four times `initial` by default.
        votes: the most forward passes spent on one input.

    Raises:
        ConfigurationError: not 0 < low <= initial <= high, or fewer votes than candidates need.
    """

    initial: float
    low: float | None = None
    high: float | None = None
    votes: int = 1600
    per_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_range(self.initial, self.low, self.high)
        least = ROUNDS * (GRID + 1)
        if self.votes < least:
            raise ConfigurationError(f"SearchSigma needs at least {least} votes, got {self.votes}")

    @property
    def cost(self) -> int:
        """Forward passes: the vote budget."""
        return self.votes

    def grid(self) -> npt.NDArray[np.float64]:
        """The candidate scales: `initial`, then a geometric grid from `low` to `high`."""
        low, high = check_range(self.initial, self.low, self.high)
        return np.concatenate([[self.initial], np.geomspace(low, high, GRID)])

    def choose(
        self, classifier: NoisyClassifier, inputs: Inputs, selected: npt.NDArray[np.int64]
    ) -> SigmaChoice:
        """Halve the candidates of all inputs round by round, in full batches."""
        survivors = [
            [
                _Candidate(VoteRequest(row, float(sigma), 0, inputs.stream(row, "search")))
                for sigma in self.grid()
            ]
            for row in range(len(inputs))
        ]
        spent = np.zeros(len(inputs), dtype=np.int64)
        for round_ in range(ROUNDS):
            active = [candidate for group in survivors for candidate in group]
            for candidate in active:
                group = survivors[candidate.request.row]
                candidate.request.n = self.votes // ROUNDS // len(group)
            counts = classifier.count(inputs, [candidate.request for candidate in active])
            for candidate, votes in zip(active, counts, strict=True):
                row = candidate.request.row
                spent[row] += candidate.request.n
                candidate.count += int(votes[selected[row]])
                candidate.n += candidate.request.n
                candidate.estimate = estimated_radius(
                    classifier.noise, candidate.request.sigma, candidate.count, candidate.n
                )
            keep = ceil(GRID / 2 ** (round_ + 1))
            survivors = [_best(group, keep) for group in survivors]
        sigma = np.array([_winner(group).request.sigma for group in survivors])
        return SigmaChoice(sigma, spent)


def _best(group: list[_Candidate], keep: int) -> list[_Candidate]:
    """The start, then the `keep` others with the largest estimates."""
    start, *others = group
    return [start, *sorted(others, key=lambda candidate: -candidate.estimate)[:keep]]


def _winner(group: list[_Candidate]) -> _Candidate:
    """The candidate with the largest estimate; the start, which comes first, on ties."""
    return max(group, key=lambda candidate: candidate.estimate)
