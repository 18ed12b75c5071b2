"""Check a store from its rows alone: the digests, the invariant, and every decision once more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from ddrs.errors import InputError, StoreError
from ddrs.memory.entries import Entry, from_row
from ddrs.memory.geometry import Norm, from_units, to_units
from ddrs.memory.index import Index
from ddrs.memory.regions import Neighbour, Resolution, decide

__all__ = ["AuditReport", "Violation", "audit"]

CHUNK = 64  # entries compared with the earlier ones at once


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong in a store.

    Attributes:
        kind: `meta`, `missing`, `damaged`, `overlap` or `replay`.
        entries: ids of the entries concerned.
        message: what is wrong with them.
    """

    kind: str
    entries: tuple[int, ...]
    message: str

    def __str__(self) -> str:
        named = " and ".join(map(str, self.entries))
        return f"{self.kind}: entry {named}: {self.message}" if named else self.message


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found in `entries` stored entries; `ok` if it found no violation."""

    violations: tuple[Violation, ...]
    entries: int

    @property
    def ok(self) -> bool:
        """Whether every certificate in the store stands."""
        return not self.violations


def audit(rows: Iterable[Row[Any]], norm: Norm, shape: tuple[int, ...]) -> AuditReport:
    """Check all rows of a store, in order of entry.

    Each entry is parsed and its input hashed again; balls of different classes must be disjoint;
    and its claim, put through the rule against the entries before it, must give what is stored.
    A row that cannot be parsed is a violation and is left out of what follows, so the entries that
    depended on it can show up too.

    Args:
        rows: the rows of the table `regions`, ordered by id.
        norm: the norm of the store.
        shape: the shape of its inputs.
    """
    violations: list[Violation] = []
    pending: list[Entry] = []
    checker = _Checker(norm)
    last = 0
    for row in rows:
        if row.id != last + 1:
            violations.append(
                Violation("missing", (row.id,), f"expected id {last + 1}: entries were deleted")
            )
        last = row.id
        checker.count += 1
        try:
            pending.append(from_row(row, shape))
        except InputError as error:
            violations.append(Violation("damaged", (row.id,), str(error)))
        if len(pending) == CHUNK:
            violations += checker.check(pending)
            pending = []
    violations += checker.check(pending)
    return AuditReport(tuple(violations), checker.count)


class _Checker:
    """The entries seen so far, against which the next ones are checked."""

    def __init__(self, norm: Norm) -> None:
        self._norm: Norm = norm
        self._index: Index | None = None
        self._ids: list[int] = []
        self.count = 0

    def check(self, entries: list[Entry]) -> list[Violation]:
        """Check the next entries, then keep them."""
        if not entries:
            return []
        if self._index is None:
            self._index = Index(len(entries[0].point.values), self._norm)
        reach = [max(e.claimed_radius, e.resolution.radius) for e in entries]
        nearby = self._index.along([e.point.values for e in entries], reach)
        violations: list[Violation] = []
        for entry, neighbours in zip(entries, nearby, strict=True):
            violations += self._overlaps(entry, neighbours)
            violations += self._replay(entry, neighbours)
            stored = entry.resolution
            self._index.add(entry.point.values, stored.prediction, stored.radius)
            self._ids.append(entry.id)
        return violations

    def _overlaps(self, entry: Entry, neighbours: list[Neighbour]) -> list[Violation]:
        stored = entry.resolution
        return [
            Violation(
                "overlap",
                (self._ids[n.position], entry.id),
                f"balls of classes {n.prediction} and {stored.prediction} overlap by "
                f"{from_units(to_units(n.radius) + to_units(stored.radius) - n.distance.floor):g}",
            )
            for n in neighbours
            if n.prediction != stored.prediction
            and not n.distance.at_least(n.radius, stored.radius)
        ]

    def _replay(self, entry: Entry, neighbours: list[Neighbour]) -> list[Violation]:
        stored = entry.resolution
        try:
            again = decide(entry.claimed_prediction, entry.claimed_radius, neighbours)
        except StoreError as error:
            return [Violation("replay", (entry.id,), str(error))]
        answer = (stored.prediction, stored.radius, stored.outcome)
        if answer == (again.prediction, again.radius, again.outcome):
            return []
        message = f"stored is {_describe(stored)}, but its claim gives {_describe(again)}"
        return [Violation("replay", (entry.id,), message)]


def _describe(resolution: Resolution) -> str:
    return f"class {resolution.prediction} with radius {resolution.radius!r} ({resolution.outcome})"
