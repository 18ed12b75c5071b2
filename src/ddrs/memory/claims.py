"""What a caller claims for an input, checked before any transaction begins."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ddrs.errors import InputError
from ddrs.inputs import Point, as_array
from ddrs.proof.certificate import ABSTAIN

__all__ = ["Claim", "as_point", "as_points"]

MAX_PREDICTION = 2**31 - 1  # the largest INTEGER of every database


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A claimed certificate; made by `Claim.of`.

    Attributes:
        point: the input.
        prediction: the class, or `ABSTAIN`.
        radius: finite and non-negative; 0 for `ABSTAIN`.
        evidence: an opaque string that is stored with the answer.
        alpha: probability with which the claim may be wrong; None where tries are not counted.
        asked: probability with which all tries at the input together may be wrong.
    """

    point: Point
    prediction: int
    radius: float
    evidence: str | None
    alpha: float | None = None
    asked: float = 0.0

    @classmethod
    def of(
        cls,
        point: Point,
        prediction: Any,
        radius: Any,
        evidence: Any,
        alpha: Any = None,
        asked: Any = None,
    ) -> "Claim":
        """Check a claim; its radius is rounded down to float64.

        Raises:
            InputError: no class, no radius, evidence that is no string, no probability, or an
                alpha without evidence, by which the try could be told from another.
        """
        if evidence is not None and not isinstance(evidence, str):
            raise InputError(f"evidence must be a string, not {type(evidence).__name__}")
        try:
            prediction = operator.index(prediction)
        except TypeError:
            raise InputError(f"the prediction {prediction!r} must be an integer") from None
        if not ABSTAIN <= prediction <= MAX_PREDICTION:
            raise InputError(
                f"the prediction {prediction} must be a class, or {ABSTAIN} to abstain"
            )
        radius = 0.0 if prediction == ABSTAIN else _rounded_down(radius)
        if alpha is None:
            return cls(point, prediction, radius, evidence)
        if evidence is None:
            raise InputError("a claim with an alpha needs evidence, which tells it from others")
        share = _probability("alpha", alpha)
        whole = share if asked is None else _probability("asked", asked)
        return cls(point, prediction, radius, evidence, share, whole)


def as_point(x: Any) -> Point:
    """One input: a `Point` as it is, anything else checked and hashed.

    Raises:
        InputError: it is no input.
    """
    return x if isinstance(x, Point) else Point.of(x)


def as_points(x: Any) -> list[Point]:
    """A batch of inputs that share one shape: a sequence of `Point`s, or `[batch, *input]`.

    Raises:
        InputError: it is neither, or one of them is no input.
    """
    if isinstance(x, Sequence) and x and all(isinstance(one, Point) for one in x):
        shapes = sorted({point.x.shape for point in x})
        if len(shapes) > 1:
            raise InputError(f"the inputs have several shapes, {shapes[0]} and {shapes[1]}")
        return list(x)
    batch = as_array(x)
    if not batch.ndim:
        raise InputError("the inputs must be a batch: the first axis counts them")
    return [Point.of(row) for row in batch]


def _probability(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        raise InputError(f"{name} must be strictly between 0 and 1, got {value!r}")
    return number


def _rounded_down(radius: Any) -> float:
    try:
        value = float(radius) if math.isfinite(radius) else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not value >= 0:
        raise InputError(f"the radius {radius!r} must be a finite number >= 0")
    return math.nextafter(value, 0.0) if value > radius else abs(value)
