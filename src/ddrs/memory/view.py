"""What this process has seen of a store: an index of its sketches, and the way to its entries."""

import json
import operator
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import RowMapping

from ddrs.errors import InputError, StoreError
from ddrs.inputs import Point
from ddrs.memory.entries import Entry, from_row
from ddrs.memory.geometry import Array, Distance, distance_bounds
from ddrs.memory.index import Index
from ddrs.memory.regions import Neighbour, closest_of_each_class
from ddrs.memory.sketch import SKETCH_SIZE, Sketch, sketch
from ddrs.memory.store.tables import ROWS_PER_QUERY, Head, Transaction
from ddrs.noise.distributions import Norm

__all__ = ["Shape", "View", "neighbours", "read_shape", "rows_per_query", "sketches"]

Shape = tuple[int, ...]

VALUES_IN_MEMORY = 1 << 21  # of stored inputs, at once


class View:
    """The committed entries of a store that this process knows of; their number only grows.

    The entries of a store are never withdrawn, so the last one that is known stays the same for
    ever. Every transaction compares its chain: a store that was replaced by an older or another
    copy is found out even after it has grown again, and is refused from then on.

    Attributes:
        norm: the norm of the radii.
        shape: the shape of the inputs, None before the first entry or abstention.
        index: the sketches of entries 1, 2, 3, ...
        known: the last entry that this process learned of or stored; the index may be behind it.
        known_abstention: likewise the last abstention.
    """

    def __init__(self, norm: Norm) -> None:
        self.norm: Norm = norm
        self.shape: Shape | None = None
        self.index = Index()
        self.known = Head(0, "")
        self.known_abstention = Head(0, "")
        self._facts = {"norm": str(norm)}
        self._refusal: str | None = None

    def know_facts(self, facts: Mapping[str, str]) -> None:
        """Committed facts about the store, which stay the same for ever."""
        self._facts.update(facts)

    def check(self, transaction: Transaction) -> Head:
        """Compare the store with what this process knows of it; every transaction begins so.

        Raises:
            StoreError: it was replaced by an older or another copy, now or earlier.
        """
        if self._refusal is None:
            entries, abstentions = transaction.heads(self.known.count, self.known_abstention.count)
            self._refusal = self._difference(transaction, *entries) or _forgotten(
                self.known_abstention, *abstentions
            )
            if self._refusal is None:
                self.known_abstention = abstentions[0]
                return entries[0]
        raise StoreError(
            f"{self._refusal}: it was replaced by an older or another copy, and nothing was "
            "stored; audit it and open it again"
        )

    def catch_up(self, transaction: Transaction) -> Head:
        """Check the store, and learn of the entries that were added since this process looked.

        Raises:
            StoreError: the store was replaced, or entries are missing or damaged.
        """
        head = self.check(transaction)
        if self.shape is None and (head.count or self.known_abstention.count):
            facts = transaction.meta()
            if head.count or "shape" in facts:  # an import has no shape of abstentions alone
                self.shape = read_shape(facts)
        if head.count > len(self.index):
            for rows in transaction.index_rows(after=len(self.index)):
                self._learn(rows)
            if len(self.index) < head.count:
                raise _missing(len(self.index) + 1)
        if head != self.known:
            raise StoreError(
                f"entry {self.known.count} is not the one that the memory ended with: the store "
                "was altered; audit it and restore it from a copy"
            )
        return head

    def check_shape(self, point: Point) -> None:
        """Refuse an input of another shape than the stored ones.

        Raises:
            InputError: it has another shape.
        """
        if self.shape is not None and point.x.shape != self.shape:
            raise InputError(
                f"the input has shape {point.x.shape}, the inputs in the memory have {self.shape}"
            )

    def neighbours(
        self,
        transaction: Transaction,
        positions: npt.NDArray[np.int64],
        point: Point,
        radius: float,
    ) -> list[Neighbour]:
        """Those at `positions` of the index that can decide about the ball `(point, radius)`.

        Raises:
            StoreError: one of them is damaged or missing.
        """
        found: list[Neighbour] = []
        numbers = (positions + 1).tolist()
        seen = 0
        for rows in transaction.get(numbers, rows_per_query(len(point.values))):
            seen += len(rows)
            entries = [self.entry(row) for row in rows]
            found = closest_of_each_class(
                found + neighbours(entries, point.values, radius, self.norm)
            )
        if seen < len(numbers):
            raise StoreError(
                f"{len(numbers) - seen} of the entries near the input are missing from the memory: "
                "audit it and restore it from a copy"
            )
        return found

    def entry(self, row: RowMapping) -> Entry:
        """The entry of a row.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return from_row(row, self.shape or ())
        except InputError as error:
            raise StoreError(
                f"entry {row['id']} of the memory is damaged ({error}): audit it and restore it "
                "from a copy"
            ) from error

    def _learn(self, rows: Sequence[RowMapping]) -> None:
        first = len(self.index) + 1
        for number, row in enumerate(rows, start=first):
            if row["id"] != number:
                raise _missing(number)
            if not isinstance(row["sketch"], bytes) or len(row["sketch"]) != 4 * SKETCH_SIZE:
                raise StoreError(f"the sketch of entry {number} of the memory is damaged: audit it")
            if not isinstance(row["radius"], float) or not row["radius"] >= 0:
                raise StoreError(f"the radius of entry {number} of the memory is damaged: audit it")
        values = np.frombuffer(b"".join(row["sketch"] for row in rows), "<f4").reshape(
            -1, SKETCH_SIZE
        )
        self.index.add(values, np.array([row["radius"] for row in rows]))
        if len(self.index) > self.known.count:
            self.known = Head(len(self.index), rows[-1]["chain"])

    def _difference(self, transaction: Transaction, head: Head, chain: object) -> str | None:
        """How the store differs from what is known of it; `chain` is that of `known`."""
        known = self.known
        if head.count < known.count:
            return f"the memory had {known.count} entries and now has {head.count}"
        if known.count and chain != known.chain:
            return f"entry {known.count} of the memory is no longer the one that was there"
        if not known.count:  # later on the chain stands for the facts, with which it begins
            facts = transaction.meta()
            for name, value in self._facts.items():
                if facts.get(name) != value:
                    return f"the memory was made for another {name.replace('_digest', '')} before"
        return None


def neighbours(entries: Sequence[Entry], x: Array, radius: float, norm: Norm) -> list[Neighbour]:
    """Those of `entries` that may satisfy d < R_i + R, each with its distance.

    Args:
        entries: stored entries.
        x: `[d]`, the centre of the candidate.
        radius: the radius R of the candidate.
        norm: of the distances.
    """
    if not entries:
        return []
    centres = np.stack([entry.point.values for entry in entries])
    lower, upper = distance_bounds(centres, x, norm)
    radii = np.array([entry.resolution.radius for entry in entries])
    with np.errstate(over="ignore"):
        reach = np.nextafter(radii + radius, np.inf)
    return [
        Neighbour(
            entries[i].id - 1,
            entries[i].resolution.prediction,
            entries[i].resolution.radius,
            Distance(entries[i].point.values, x, norm, float(lower[i]), float(upper[i])),
        )
        for i in np.flatnonzero(lower < reach).tolist()
    ]


def sketches(points: Sequence[Point]) -> Sketch:
    """`[len(points), SKETCH_SIZE]` of points that share one shape."""
    xs = np.stack([p.values for p in points])
    return sketch(xs.reshape(len(points), *points[0].x.shape))


def rows_per_query(dimension: int) -> int:
    """How many inputs of `dimension` values each are read at once."""
    return max(1, min(ROWS_PER_QUERY, VALUES_IN_MEMORY // dimension))


def read_shape(facts: dict[str, str]) -> Shape:
    """The shape that a store with entries has recorded.

    Raises:
        StoreError: there is none, or it is unreadable.
    """
    try:
        recorded: Any = json.loads(facts["shape"])
        shape = tuple(operator.index(length) for length in recorded)
        if prod(shape) < 1 or any(length < 1 for length in shape):
            raise ValueError(shape)
        return shape
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"the recorded input shape {facts.get('shape')!r} is unreadable: the store was altered"
        ) from error


def _forgotten(known: Head, head: Head, chain: object) -> str | None:
    """How the abstentions differ from what is known of them; `chain` is that of `known`."""
    if head.count < known.count:
        return f"the memory had {known.count} abstentions and now has {head.count}"
    if known.count and chain != known.chain:
        return f"abstention {known.count} of the memory is no longer the one that was there"
    return None


def _missing(number: int) -> StoreError:
    return StoreError(
        f"entry {number} of the memory is missing: the store was altered; audit it and restore it "
        "from a copy"
    )
