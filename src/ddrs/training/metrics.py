"""What is known of an epoch when it is over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EpochMetrics", "best_epoch", "histogram"]

HISTOGRAM_PARTS = 20


@dataclass(frozen=True)
class EpochMetrics:
    """How one epoch went.

    Attributes:
        epoch: its number, from 0.
        loss: mean over the training examples as they were seen.
        noisy_accuracy: share of them that was classified correctly under noise, as they were seen.
        seconds: time it took.
        validation_accuracy: the same share of the examples held out, under noise of the training
            sigma that is the same in every epoch; None where none are held out.
        sigma_min: least sigma of a training example at its end.
        sigma_median: the median.
        sigma_max: the largest.
        sigma_counts: examples in each of 20 equal parts of the range of sigma; empty where sigma
            is fixed.
    """

    epoch: int
    loss: float
    noisy_accuracy: float
    seconds: float = field(compare=False)
    validation_accuracy: float | None
    sigma_min: float
    sigma_median: float
    sigma_max: float
    sigma_counts: Sequence[int]


def best_epoch(history: Sequence[EpochMetrics]) -> int:
    """The epoch whose weights are the result: of the best on validation, or of all, the last."""
    return max(
        history, key=lambda metrics: (metrics.validation_accuracy or 0.0, metrics.epoch)
    ).epoch


def histogram(sigma: "Tensor", bounds: tuple[float, float]) -> Sequence[int]:
    """How many of the sigmas `[examples]` are in each of 20 equal parts of [low, high]."""
    low, high = bounds
    if low == high:
        return [len(sigma)]
    return [int(count) for count in sigma.histc(HISTOGRAM_PARTS, low, high)]
