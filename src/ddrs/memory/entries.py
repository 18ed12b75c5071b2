"""One entry of the store, and the row of the table that holds it."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from ddrs.certificate import ABSTAIN
from ddrs.errors import InputError
from ddrs.memory.points import Point, decode
from ddrs.memory.regions import Resolution

__all__ = ["Entry", "from_row", "resolution_of", "to_row"]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A stored answer, with the claim it was made from so that it can be replayed.

    Attributes:
        id: 1, 2, 3, ... in order of entry.
        point: the input.
        resolution: the answer.
        claimed_prediction: the class the caller claimed, or `ABSTAIN`.
        claimed_radius: the radius the caller claimed; 0 for `ABSTAIN`.
    """

    id: int
    point: Point
    resolution: Resolution
    claimed_prediction: int
    claimed_radius: float


def to_row(entry: Entry) -> dict[str, Any]:
    """The columns of `entry`."""
    return {
        "id": entry.id,
        "input_digest": entry.point.digest,
        "x": entry.point.x.tobytes(),
        "dtype": entry.point.x.dtype.str,
        "prediction": entry.resolution.prediction,
        "radius": entry.resolution.radius,
        "outcome": entry.resolution.outcome,
        "claimed_prediction": entry.claimed_prediction,
        "claimed_radius": entry.claimed_radius,
        "evidence": entry.resolution.evidence,
    }


def from_row(row: Row[Any], shape: tuple[int, ...]) -> Entry:
    """The entry that `row` holds.

    Args:
        row: a row of the table `regions`.
        shape: the shape of the memory's inputs.

    Raises:
        InputError: the row was altered or damaged; says which value is wrong.
    """
    if not isinstance(row.x, bytes):
        raise InputError("x is no blob")
    point = decode(row.x, row.dtype, shape)
    if point.digest != row.input_digest:
        raise InputError("the input is not the one its digest names")
    _check_claim("claimed", row.claimed_prediction, row.claimed_radius, ABSTAIN)
    return Entry(row.id, point, resolution_of(row), row.claimed_prediction, row.claimed_radius)


def resolution_of(row: Row[Any]) -> Resolution:
    """The answer that `row` holds.

    Raises:
        InputError: the row was altered or damaged.
    """
    _check_claim("stored", row.prediction, row.radius, 0)
    if row.outcome not in ("own", "inherited", "trimmed"):
        raise InputError(f"unknown outcome {row.outcome!r}")
    return Resolution(row.prediction, row.radius, row.outcome, row.evidence)


def _check_claim(name: str, prediction: object, radius: object, lowest: int) -> None:
    if not isinstance(prediction, int) or prediction < lowest:
        raise InputError(f"the {name} prediction {prediction!r} is no class")
    if not isinstance(radius, float) or not 0 <= radius < math.inf:
        raise InputError(f"the {name} radius {radius!r} is no radius")
