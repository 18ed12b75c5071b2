"""Certified accuracy, the average certified radius, and how sure one can be of an accuracy."""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError, InputError
from ddrs.proof.bounds import clopper_pearson

__all__ = [
    "DEFAULT_RADII",
    "Float64s",
    "Scored",
    "accuracy_interval",
    "accuracy_intervals",
    "average_certified_radius",
    "certified_accuracy",
    "certified_hits",
    "mean",
]

Float64s = npt.NDArray[np.float64]

DEFAULT_RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""The radii of the published tables for CIFAR-10, every quarter up to 2."""


class Scored(Protocol):
    """What the metrics need to know of one input."""

    @property
    def radius(self) -> float: ...  # noqa: D102
    @property
    def correct(self) -> bool | None: ...  # noqa: D102


Rows = Iterable[Scored | Mapping[str, Any]]


@overload
def certified_accuracy(rows: Rows, radii: float) -> float: ...
@overload
def certified_accuracy(rows: Rows, radii: Iterable[float]) -> Float64s: ...
def certified_accuracy(rows: Rows, radii: float | Iterable[float]) -> float | Float64s:
    """The fraction of inputs answered correctly with a radius of at least r, for each r.

    Cohen et al. 2019, section 4: "certified test set accuracy at radius r". An abstention is a
    wrong answer, so the value at r = 0 is the smoothed classifier's accuracy.

    Args:
        rows: one entry per input, with `radius` and `correct` as attributes or as keys.
        radii: one radius, or several in any order, in the units of the rows' radii.

    Returns:
        A float for one radius; for several, a float64 array `[radii]`.

    Raises:
        InputError: no rows, or a row without a finite radius >= 0 and a `correct` of 0 or 1, which
            rows of inputs without labels do not have.
        ConfigurationError: a radius that is negative, infinite or not a number.
    """
    hits, inputs = certified_hits(rows, radii)
    accuracy = hits / inputs
    return float(accuracy) if accuracy.ndim == 0 else accuracy


def certified_hits(rows: Rows, radii: float | Iterable[float]) -> tuple[npt.NDArray[np.int64], int]:
    """How many inputs are certified correct at each radius, and how many inputs there are.

    Arguments and errors are those of `certified_accuracy`; the counts have the shape of `radii`.
    """
    at = check_radii(radii)
    radius, correct = _columns(rows)
    certified = np.sort(radius[correct])
    hits = len(certified) - np.searchsorted(certified, at, side="left")  # radius == r counts
    return np.asarray(hits, dtype=np.int64), len(radius)


def check_radii(radii: float | Iterable[float]) -> Float64s:
    """Radii to ask for as an array, of no dimension for one radius.

    Raises:
        ConfigurationError: one is negative, infinite or not a number.
    """
    at = np.asarray(list(radii) if isinstance(radii, Iterable) else radii, dtype=np.float64)
    if not np.all((at >= 0) & np.isfinite(at)):
        raise ConfigurationError(f"radii must be finite numbers of at least 0, got {at.tolist()}")
    return at


def average_certified_radius(rows: Rows) -> float:
    """ACR: the mean over all inputs of the radius where the answer is correct, else 0.

    Zhai et al. 2020 (MACER), section 5.1. The sum is exact, so the order of rows does not matter.

    Args:
        rows: one entry per input, with `radius` and `correct` as attributes or as keys.

    Returns:
        The average, in the units of the rows' radii.

    Raises:
        InputError: no rows, or a row without a finite radius >= 0 and a `correct` of 0 or 1.
    """
    radius, correct = _columns(rows)
    return mean(radius[correct], len(radius))


def accuracy_interval(hits: int, inputs: int, level: float = 0.95) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval for an accuracy of `hits / inputs`.

    It covers the accuracy over the population that the inputs were drawn from.

    Args:
        hits: inputs answered correctly.
        inputs: inputs in all, at least 1.
        level: confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper end.

    Raises:
        InputError: `hits` is not between 0 and `inputs`, or there are no inputs.
        ConfigurationError: a level outside (0, 1).
    """
    low, high = accuracy_intervals(np.asarray(hits), inputs, level)
    return float(low), float(high)


def accuracy_intervals(
    hits: npt.NDArray[np.int64], inputs: int, level: float = 0.95
) -> tuple[Float64s, Float64s]:
    """`accuracy_interval` for an array of counts out of the same inputs, elementwise."""
    if not 0 < level < 1:
        raise ConfigurationError(f"the confidence level must be between 0 and 1, got {level}")
    if inputs < 1 or np.any(hits < 0) or np.any(hits > inputs):
        raise InputError(f"hits must be between 0 and the number of inputs, {inputs} (at least 1)")
    return clopper_pearson(hits, inputs, (1 - level) / 2)


def _columns(rows: Rows) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Radii `[rows]` and correctness `[rows]`, checked."""
    pairs = [_pair(position, row) for position, row in enumerate(rows)]
    if not pairs:
        raise InputError("there are no rows to evaluate: give at least one certified input")
    radius, correct = np.array(pairs, dtype=np.float64).T
    bad = ~(np.isfinite(radius) & (radius >= 0) & np.isin(correct, (0, 1)))
    if bad.any():
        at = int(bad.argmax())
        raise InputError(
            f"row {at} has radius {radius[at]} and correct {correct[at]:g}: "
            "a radius must be finite and at least 0, and correct must be 0 or 1"
        )
    return radius, correct == 1


def _pair(position: int, row: Scored | Mapping[str, Any]) -> tuple[float, float]:
    try:
        # float, not bool: the text "0" of an unparsed table must not count as correct.
        if isinstance(row, Mapping):
            radius, correct = row["radius"], row["correct"]
        else:
            radius, correct = row.radius, row.correct
        if correct is None:
            raise InputError(f"row {position} has no label, so there is no accuracy")
        return float(radius), float(correct)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"row {position} must have a numeric radius and correct, as attributes or as keys: "
            f"{error!r}"
        ) from error


def mean(values: Float64s, count: int) -> float:
    """The sum of values, divided by a number of them that may be larger; finite if all are."""
    try:
        return fsum(values) / count
    except OverflowError:
        return fsum(values / count)
