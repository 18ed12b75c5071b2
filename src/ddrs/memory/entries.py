"""One entry of the store, and the rows of the tables that hold it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddrs.errors import InputError
from ddrs.inputs import Point
from ddrs.memory.encoding import decode, encode
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import ABSTAIN

__all__ = ["Entry", "from_row", "input_row", "region_row", "resolution_of"]


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


def region_row(entry: Entry) -> dict[str, Any]:
    """The columns of `entry` in the table `regions`, but for its sketch and place in the chain."""
    return {
        "id": entry.id,
        "input_digest": entry.point.digest,
        "prediction": entry.resolution.prediction,
        "radius": entry.resolution.radius,
        "outcome": entry.resolution.outcome,
        "claimed_prediction": entry.claimed_prediction,
        "claimed_radius": entry.claimed_radius,
        "evidence": entry.resolution.evidence,
    }


def input_row(entry: Entry) -> dict[str, Any]:
    """The columns of `entry` in the table `inputs`."""
    encoding, data = encode(entry.point.x)
    return {
        "id": entry.id,
        "dtype": entry.point.x.dtype.str,
        "encoding": encoding,
        "x": data,
    }


def from_row(row: Mapping[Any, Any], shape: tuple[int, ...]) -> Entry:
    """The entry that a row holds.

    Args:
        row: a row of the table `regions` with that of `inputs`.
        shape: the shape of the memory's inputs.

    Raises:
        InputError: the row was altered or damaged; says which value is wrong.
    """
    if not isinstance(row["x"], bytes):
        raise InputError("its input is missing")
    point = decode(row["x"], row["encoding"], row["dtype"], shape)
    if point.digest != row["input_digest"]:
        raise InputError("the input is not the one its digest names")
    claimed, radius = row["claimed_prediction"], row["claimed_radius"]
    _check_claim("claimed", claimed, radius, ABSTAIN)
    return Entry(row["id"], point, resolution_of(row), claimed, radius)


def resolution_of(row: Mapping[Any, Any]) -> Resolution:
    """The answer that a row of `regions` holds.

    Raises:
        InputError: the row was altered or damaged.
    """
    _check_claim("stored", row["prediction"], row["radius"], 0)
    if row["outcome"] not in ("own", "inherited", "trimmed"):
        raise InputError(f"unknown outcome {row['outcome']!r}")
    return Resolution(row["prediction"], row["radius"], row["outcome"], row["evidence"])


def _check_claim(name: str, prediction: object, radius: object, lowest: int) -> None:
    if not isinstance(prediction, int) or prediction < lowest:
        raise InputError(f"the {name} prediction {prediction!r} is no class")
    if not isinstance(radius, float) or not 0 <= radius < math.inf:
        raise InputError(f"the {name} radius {radius!r} is no radius")
