"""The rule of the memory: a candidate and the stored regions near it -> its resolution.

Entries (x_i, C_i, R_i) are open balls, and those of different classes are disjoint:

    |x_i - x_j| >= R_i + R_j   whenever C_i != C_j, radii of 0 included.

For a new (x, C, R) with d_i = |x - x_i| and S = {i : d_i < R_i}, whose members share one class:

1. S empty, C = ABSTAIN: abstain and store nothing.
2. S empty: keep C with R' = min(R, min over C_j != C of (d_j - R_j)).
3. S of class C': inherited = max over S of (R_i - d_i). If C = C', keep C' with
   R' = max(inherited, min(R, min over C_j != C' of (d_j - R_j))); otherwise C' with inherited.

The invariant holds again, and from then on every z with |z - x| < R' is answered the same. This is
section 3.5 of Alfarra et al. (UAI 2022), completed to every case; no radius comes out smaller.
Every comparison is exact, and R' is the exact value rounded down to float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ddrs.errors import StoreError
from ddrs.memory.geometry import Distance, from_units, to_units
from ddrs.proof.certificate import ABSTAIN, Outcome

__all__ = ["Neighbour", "Region", "Resolution", "closest_of_each_class", "decide", "deepest_cover"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the memory answers for one input: `prediction` within `radius`.

    Attributes:
        prediction: the class, or `ABSTAIN`.
        radius: radius in the memory's norm and the units of the input; rounded down.
        outcome: `own`, `inherited`, `trimmed` or `abstained`.
        evidence: what was stored with the answer, an opaque string.
    """

    prediction: int
    radius: float
    outcome: Outcome
    evidence: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A stored open ball: every input closer than `radius` to `x` is answered `prediction`.

    Attributes:
        x: the centre, with the shape and dtype it was stored with.
        prediction: the class.
        radius: radius in the memory's norm.
    """

    x: npt.NDArray[Any]
    prediction: int
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """A stored entry seen from the candidate: its position in order of entry, and how far it is."""

    position: int
    prediction: int
    radius: float
    distance: Distance


def decide(prediction: int, radius: float, neighbours: Sequence[Neighbour]) -> Resolution:
    """The rule above.

    Args:
        prediction: the class C that is claimed, or `ABSTAIN`.
        radius: the radius R that is claimed, finite and non-negative.
        neighbours: at least the entries with d_i < R_i + R. Further ones change nothing.

    Returns:
        The resolution, without evidence. Only `abstained` is not to be stored.

    Raises:
        StoreError: regions of different classes cover the candidate: the store was altered.
    """
    covering = _covering(neighbours)
    if not covering and prediction == ABSTAIN:
        return Resolution(ABSTAIN, 0.0, "abstained")
    if covering and covering[0].prediction != prediction:
        return Resolution(covering[0].prediction, _inherited(covering), "inherited")
    wider = [n for n in covering if not n.distance.at_least(n.radius, -radius)]  # R < R_i - d_i
    if wider:
        return Resolution(prediction, _inherited(wider), "inherited")
    blocking = [
        n
        for n in neighbours
        if n.prediction != prediction and not n.distance.at_least(n.radius, radius)
    ]
    if not blocking:
        return Resolution(prediction, radius, "own")
    floor, ceil = _margin(blocking)
    # The invariant gives d_j - R_j >= R_i - d_i; where they are equal the covering ball names it.
    if covering and ceil <= -_margin(covering)[1]:
        return Resolution(prediction, _inherited(covering), "inherited")
    return Resolution(prediction, from_units(floor), "trimmed")


def deepest_cover(neighbours: Sequence[Neighbour]) -> Neighbour | None:
    """The neighbour whose ball leaves most radius R_i - d_i around x, the earliest on ties.

    Raises:
        StoreError: regions of different classes cover x: the store was altered.
    """
    covering = _covering(neighbours)
    if not covering:
        return None
    return min(_closest(covering), key=lambda n: (sum(_margin([n])), n.position))


def closest_of_each_class(neighbours: Sequence[Neighbour]) -> list[Neighbour]:
    """The neighbours that `decide` and `deepest_cover` depend on.

    Both ask of a class only for its least d_i - R_i, so that thousands of balls around one input
    need not be held at once.
    """
    classes: dict[int, list[Neighbour]] = {}
    for n in neighbours:
        classes.setdefault(n.prediction, []).append(n)
    return [n for group in classes.values() for n in _closest(group)]


def _covering(neighbours: Sequence[Neighbour]) -> list[Neighbour]:
    """S, the neighbours whose open ball contains the candidate."""
    covering = [n for n in neighbours if not n.distance.at_least(n.radius)]
    for n in covering:
        if n.prediction != covering[0].prediction:
            raise StoreError(
                f"regions {covering[0].position + 1} and {n.position + 1} of the memory overlap "
                "with different classes: the store was altered; audit it and start a new one"
            )
    return covering


def _inherited(covering: Sequence[Neighbour]) -> float:
    """The maximum of R_i - d_i, rounded down."""
    return from_units(-_margin(covering)[1])


def _margin(neighbours: Sequence[Neighbour]) -> tuple[int, int]:
    """The minimum of d_i - R_i in units, rounded down and rounded up."""
    closest = [(n.distance, to_units(n.radius)) for n in _closest(neighbours)]
    return min(d.floor - r for d, r in closest), min(d.ceil - r for d, r in closest)


def _closest(neighbours: Sequence[Neighbour]) -> list[Neighbour]:
    """The neighbours that can minimise d_i - R_i as far as float64 tells: few need integers."""
    least = min(math.nextafter(n.distance.upper - n.radius, math.inf) for n in neighbours)
    return [
        n for n in neighbours if math.nextafter(n.distance.lower - n.radius, -math.inf) <= least
    ]
