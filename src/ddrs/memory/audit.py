"""Check a store from its rows alone: digests, the chain, the invariant, every decision once more.

Nothing that the store derived is taken from it: inputs are hashed again, sketches are made again,
and every pair of balls that could touch is measured in full. Pairs are found in bands: entries of
about the same radius, in order of the first number of their sketches, so that most of the square
of all pairs is never looked at.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
from sqlalchemy import RowMapping

from ddrs.errors import ConfigurationError, InputError, StoreError
from ddrs.memory.abstentions import Abstention, abstention_of
from ddrs.memory.chain import CHAINED_ABSTENTION, genesis, link
from ddrs.memory.entries import Entry, from_row
from ddrs.memory.geometry import Array, from_units, parse_norm, to_units
from ddrs.memory.index import Index
from ddrs.memory.regions import Neighbour, Resolution, decide
from ddrs.memory.sketch import SKETCH_ERROR, SKETCH_SIZE, Sketch
from ddrs.memory.store.tables import ROWS_PER_QUERY, Head, Transaction
from ddrs.memory.view import neighbours, read_shape, rows_per_query, sketches
from ddrs.noise.distributions import Norm
from ddrs.proof.tries import alpha_left

__all__ = ["AuditReport", "Violation", "audit"]

Examine = Callable[[Entry | Abstention], Iterable[str]]

ENTRIES_PER_SCAN = 256  # that share one scan of an index


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong in a store.

    Attributes:
        kind: `meta`, `head`, `missing`, `chain`, `damaged`, `sketch`, `evidence`, `alpha`,
            `overlap` or `replay`.
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
    """What an audit found in `entries` stored entries.

    Attributes:
        violations: what is wrong.
        entries: how many there are.
        whole: whether all was looked into; False for a run whose memory was not opened, and for a
            memory that does not say which classifiers its certificates may be of.
        notes: what is not wrong but to be known, such as what nothing was compared with.
    """

    violations: tuple[Violation, ...]
    entries: int
    whole: bool = True
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every certificate stands: all was looked into, and nothing is wrong."""
        return self.whole and not self.violations


def audit(
    transaction: Transaction,
    examine: Examine | None = None,
    known: Head | None = None,
    known_abstention: Head | None = None,
) -> AuditReport:
    """Check a whole store.

    A row that cannot be parsed is a violation and is left out of what follows, so the entries that
    depended on it can show up too.

    Args:
        transaction: on the store; it must see one state of it throughout.
        examine: what else is wrong with an entry or an abstention.
        known: an entry by its number and chain that must still be there.
        known_abstention: likewise an abstention.
    """
    count = transaction.stored()
    facts = transaction.meta()
    try:
        norm = parse_norm(facts.get("norm"))
        shape = read_shape(facts) if count else ()
    except (ConfigurationError, StoreError) as error:
        return AuditReport((Violation("meta", (), str(error)),), count)
    reading = _Reading(shape, facts, examine)
    violations = [
        v for rows in transaction.rows(rows_per_query(prod(shape))) for v in reading(rows)
    ]
    nothing = Head(0, "")
    entries = Head(count, reading.chain), known or nothing
    abstentions = _abstentions(transaction, norm, examine, violations), known_abstention or nothing
    violations += _head_faults(transaction, entries, abstentions)
    columns = reading.columns()
    for chunk, pairs in _pairs_to_compare(columns):
        violations += _decisions(transaction, norm, shape, columns, chunk, pairs)
    violations.sort(key=lambda v: v.entries[-1:])  # the store's own faults, then as entries came
    return AuditReport(tuple(violations), count)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """What is kept of every entry: `[m]` each, and `[m, SKETCH_SIZE]` sketches."""

    ids: npt.NDArray[np.int64]
    radii: Array  # as stored
    reach: Array  # how far its claim or its answer could conflict with an earlier one
    sketches: Sketch


class _Reading:
    """One pass over the rows: checks that need no other entry."""

    def __init__(
        self,
        shape: tuple[int, ...],
        facts: dict[str, str],
        examine: Examine | None,
    ) -> None:
        self.chain = genesis(facts)
        self._shape = shape
        self._examine = examine
        self._last = 0
        self._numbers: list[tuple[int, float, float]] = []
        self._sketches: list[Sketch] = []

    def __call__(self, rows: Sequence[RowMapping]) -> Iterator[Violation]:
        """What is wrong with the next rows."""
        parsed: list[tuple[Entry, RowMapping]] = []
        for row in rows:
            number = row["id"]
            if number != self._last + 1:
                message = f"expected id {self._last + 1}: entries were deleted"
                yield Violation("missing", (number,), message)
            elif link(self.chain, row) != row["chain"]:
                message = "it does not follow from the entry before it: one of the two was altered"
                yield Violation("chain", (number,), message)
            self._last, self.chain = number, str(row["chain"])
            try:
                entry = from_row(row, self._shape)
            except InputError as error:
                yield Violation("damaged", (number,), str(error))
                continue
            parsed.append((entry, row))
            for fault in self._examine(entry) if self._examine else ():
                yield Violation("evidence", (number,), fault)
        if not parsed:
            return
        entries = [entry for entry, _ in parsed]
        made = sketches([entry.point for entry in entries])
        for (entry, row), values in zip(parsed, made, strict=True):
            if not _same_sketch(row["sketch"], values):
                message = "its sketch is not that of its input, so searches can miss it"
                yield Violation("sketch", (entry.id,), message)
        self._numbers += [
            (e.id, e.resolution.radius, max(e.claimed_radius, e.resolution.radius)) for e in entries
        ]
        self._sketches.append(made)

    def columns(self) -> _Columns:
        """All entries that could be read."""
        ids, radii, reach = np.array(self._numbers).reshape(-1, 3).T
        made = np.concatenate([np.empty((0, SKETCH_SIZE), np.float32), *self._sketches])
        return _Columns(ids.astype(np.int64), radii, reach, made)


def _same_sketch(stored: object, made: Sketch) -> bool:
    """Whether a stored sketch is within the rounding that another machine's may differ by."""
    if not isinstance(stored, bytes) or len(stored) != 4 * SKETCH_SIZE:
        return False
    values = np.frombuffer(stored, "<f4").astype(np.float64)
    with np.errstate(all="ignore"):
        off = np.sqrt(np.sum((values - made) ** 2))
        near = off <= 2 * SKETCH_ERROR * np.sqrt(np.sum(made.astype(np.float64) ** 2))
    return bool(near) or values.astype(np.float32).tobytes() == made.tobytes()


def _abstentions(
    transaction: Transaction, norm: Norm, examine: Examine | None, violations: list[Violation]
) -> Head:
    """Check the abstentions, and give the end of their chain as their rows have it.

    Args:
        transaction: on the store.
        norm: of the memory, with which the chain begins.
        examine: what else is wrong with one of them.
        violations: what is wrong is added to it.
    """
    count, last, chain = 0, 0, genesis({"norm": norm})
    spent: dict[str, float] = {}  # by input

    def note(kind: str, message: str) -> None:
        violations.append(Violation(kind, (), f"abstention {last}: {message}"))

    while rows := transaction.abstention_rows(last, ROWS_PER_QUERY):
        for row in rows:
            before, last, count = last, row["id"], count + 1
            if last != before + 1:
                note("missing", f"expected id {before + 1}: abstentions were deleted")
            elif link(chain, row, CHAINED_ABSTENTION) != row["chain"]:
                note("chain", "it does not follow from the one before it: one was altered")
            chain = str(row["chain"])
            try:
                abstention = abstention_of(row)
            except InputError as error:
                note("damaged", str(error))
                continue
            left = alpha_left(abstention.spent, spent.get(abstention.input_digest, 0.0))
            if not 0 < abstention.alpha <= left:
                note("alpha", f"it took {abstention.alpha}, where its input had {left} left")
            spent[abstention.input_digest] = abstention.spent
            for fault in examine(abstention) if examine else ():
                note("evidence", fault)
    return Head(count, chain if count else "")


def _head_faults(transaction: Transaction, *found: tuple[Head, Head]) -> Iterator[Violation]:
    """What is wrong with the ends of the chains.

    Args:
        transaction: on the store.
        found: of the entries and of the abstentions: the end as the rows give it, and one that was
            known before and must still be there.
    """
    try:
        stated = transaction.heads(*(known.count for _, known in found))
    except StoreError as error:
        yield Violation("head", (), str(error))
        return
    names = (("entries", "entry"), ("abstentions", "abstention"))
    for (many, one), (made, known), (head, chain) in zip(names, found, stated, strict=True):
        if head.count != made.count:
            message = f"the store has {made.count} {many} and should have {head.count}"
            yield Violation("head", (), f"{message}: {many} were deleted or added")
        elif made.count and head.chain != made.chain:
            yield Violation("head", (), f"the last {one} is not the one that the store ended with")
        if known.count and chain != known.chain:
            message = f"{one} {known.count} is no longer the one that was there: the store was"
            yield Violation("head", (), f"{message} replaced by an older or another copy")


def _pairs_to_compare(
    columns: _Columns,
) -> Iterator[tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]]:
    """Chunks of entries, and for each entry those that came before it and may matter to it."""
    with np.errstate(all="ignore"):
        blur = 2 * SKETCH_ERROR * np.sqrt(np.sum(columns.sketches.astype(np.float64) ** 2, axis=1))
    radii, reach = columns.radii + blur, columns.reach + blur
    indexes = []
    for band in _bands(columns.sketches[:, 0], radii):
        index = Index()
        index.add(columns.sketches[band], columns.radii[band])
        indexes.append((band, index, columns.sketches[band, 0].astype(np.float64)))
    for asking in _bands(columns.sketches[:, 0], reach):
        for low in range(0, len(asking), ENTRIES_PER_SCAN):
            chunk = asking[low : low + ENTRIES_PER_SCAN]
            asked = columns.sketches[chunk]
            middle = asked[:, 0].astype(np.float64)
            found: list[list[npt.NDArray[np.int64]]] = [[] for _ in chunk]
            for band, index, first in indexes:
                far = (radii[band].max() + reach[chunk].max()) * (1 + SKETCH_ERROR)
                start, stop = 0, len(band)
                if np.isfinite([far, middle[0], middle[-1], first[0], first[-1]]).all():
                    start = int(np.searchsorted(first, middle[0] - far))
                    stop = int(np.searchsorted(first, middle[-1] + far, side="right"))
                for i, positions in enumerate(index.near(asked, columns.reach[chunk], start, stop)):
                    earlier = band[positions]
                    found[i].append(earlier[columns.ids[earlier] < columns.ids[chunk[i]]])
            yield chunk, [np.concatenate(parts) for parts in found]


def _bands(first: Sketch, radii: Array) -> list[npt.NDArray[np.int64]]:
    """The entries by powers of two of a radius, each band in order of the first sketch number."""
    with np.errstate(divide="ignore"):
        power = np.clip(np.nan_to_num(np.ceil(np.log2(radii)), nan=8), -3, 8)
    order = np.argsort(first, kind="stable")  # what is not a number comes last
    return [order[power[order] == p] for p in np.unique(power)]


def _decisions(
    transaction: Transaction,
    norm: Norm,
    shape: tuple[int, ...],
    columns: _Columns,
    chunk: npt.NDArray[np.int64],
    pairs: Sequence[npt.NDArray[np.int64]],
) -> Iterator[Violation]:
    """Each entry of a chunk against earlier ones: no overlap, and its claim gives its answer."""
    step = rows_per_query(prod(shape))
    for low in range(0, len(chunk), step):
        numbers = columns.ids[chunk[low : low + step]].tolist()
        rows = {row["id"]: row for row in next(transaction.get(numbers, step))}
        for number, earlier in zip(numbers, pairs[low : low + step], strict=True):
            entry = from_row(rows[number], shape)
            reach = max(entry.claimed_radius, entry.resolution.radius)
            around: list[Neighbour] = []
            for near in transaction.get(columns.ids[earlier].tolist(), step):
                entries = [from_row(row, shape) for row in near]
                around += neighbours(entries, entry.point.values, reach, norm)
            yield from _overlaps(entry, around)
            yield from _replay(entry, around)


def _overlaps(entry: Entry, around: Sequence[Neighbour]) -> Iterator[Violation]:
    stored = entry.resolution
    for n in around:
        if n.prediction != stored.prediction and not n.distance.at_least(n.radius, stored.radius):
            depth = from_units(to_units(n.radius) + to_units(stored.radius) - n.distance.floor)
            message = (
                f"balls of classes {n.prediction} and {stored.prediction} overlap by {depth:g}"
            )
            yield Violation("overlap", (n.position + 1, entry.id), message)


def _replay(entry: Entry, around: Sequence[Neighbour]) -> Iterator[Violation]:
    stored = entry.resolution
    try:
        again = decide(entry.claimed_prediction, entry.claimed_radius, around)
    except StoreError as error:
        yield Violation("replay", (entry.id,), str(error))
        return
    answer = (stored.prediction, stored.radius, stored.outcome)
    if answer != (again.prediction, again.radius, again.outcome):
        message = f"stored is {_describe(stored)}, but its claim gives {_describe(again)}"
        yield Violation("replay", (entry.id,), message)


def _describe(resolution: Resolution) -> str:
    return f"class {resolution.prediction} with radius {resolution.radius!r} ({resolution.outcome})"
