"""The tables of a store and the statements on them, the same for every database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    REAL,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    Select,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

from ddrs.errors import InputError, StoreError
from ddrs.memory.abstentions import Abstention, abstention_of, abstention_row
from ddrs.memory.chain import CHAINED_ABSTENTION, genesis, link
from ddrs.memory.entries import Entry, input_row, region_row
from ddrs.memory.sketch import Sketch

__all__ = [
    "EMPTY",
    "ROWS_PER_QUERY",
    "SCHEMA_VERSION",
    "Head",
    "Transaction",
    "abstentions",
    "head",
    "inputs",
    "meta",
    "real",
    "regions",
    "tables",
]

SCHEMA_VERSION = 3

tables = MetaData()
real: Double[float] = Double().with_variant(REAL(), "sqlite")

# What decides. A process reads all of it but the evidence once, so the inputs are kept apart.
regions = Table(
    "regions",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ... by entry
    Column("input_digest", Text, nullable=False, unique=True),
    Column("prediction", Integer, nullable=False),
    Column("radius", real, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("claimed_prediction", Integer, nullable=False),
    Column("claimed_radius", real, nullable=False),
    Column("sketch", LargeBinary, nullable=False),
    Column("chain", Text, nullable=False),
    Column("evidence", Text),
)
inputs = Table(
    "inputs",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("dtype", Text, nullable=False),
    Column("encoding", Text, nullable=False),
    Column("x", LargeBinary, nullable=False),
)
# Tries that certified nothing; those at one input spend ever more.
abstentions = Table(
    "abstentions",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ... by entry
    Column("input_digest", Text, nullable=False),
    Column("alpha", real, nullable=False),
    Column("spent", real, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("chain", Text, nullable=False),
    UniqueConstraint("input_digest", "spent"),
)
# How many there are and the end of their chain: row 1 of the regions, row 2 of the abstentions. A
# process of version 2 that still has the store open expects one row and stops.
head = Table(
    "head",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("entries", Integer, nullable=False),
    Column("chain", Text, nullable=False),
)
meta = Table(
    "meta",
    tables,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Made once, because every transaction begins with it.
_head_and_chain = (
    select(head.c.entries, head.c.chain, regions.c.chain)
    .select_from(head.outerjoin(regions, regions.c.id == bindparam("entry")))
    .where(head.c.id == 1)
)
_both_heads_and_chains = (
    select(head.c.entries, head.c.chain, func.coalesce(regions.c.chain, abstentions.c.chain))
    .select_from(
        head.outerjoin(regions, and_(head.c.id == 1, regions.c.id == bindparam("entry"))).outerjoin(
            abstentions, and_(head.c.id == 2, abstentions.c.id == bindparam("abstention"))
        )
    )
    .order_by(head.c.id)
)

EMPTY = {"entries": 0, "chain": ""}

ROWS_PER_QUERY = 256  # that are read, or asked for by name, at once


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries, or abstentions, there are and the end of their chain; empty before one."""

    count: int
    chain: str


class Transaction:
    """Statements inside one transaction.

    Args:
        connection: in a transaction.
        remembers: whether there is a table of abstentions; where not, they are only read, as none.
    """

    def __init__(self, connection: Connection, *, remembers: bool = True) -> None:
        self.connection = connection
        self._remembers = remembers

    def head(self) -> Head:
        """How many entries there are.

        Raises:
            StoreError: the store does not say.
        """
        return self.heads(0, 0)[0][0]

    def heads(self, entry: int, abstention: int) -> tuple[tuple[Head, object], tuple[Head, object]]:
        """The heads of the entries and of the abstentions, each with a chain as it is stored.

        Args:
            entry: number of the entry whose chain is given; None where there is none.
            abstention: likewise.

        Raises:
            StoreError: the store does not say how many there are.
        """
        query = _both_heads_and_chains if self._remembers else _head_and_chain
        numbers = {"entry": entry, "abstention": abstention}
        rows = [tuple(row) for row in self.connection.execute(query, numbers)]
        if not self._remembers:
            rows.append((0, "", None))
        if len(rows) != 2 or any(
            not isinstance(count, int) or not isinstance(chain, str) for count, chain, _ in rows
        ):
            raise StoreError(
                "the memory no longer says how many entries it has: the store was altered; "
                "audit it and restore it from a copy"
            )
        (entries, end, one), (tries, last, other) = rows
        return (Head(entries, end), one), (Head(tries, last), other)

    def index_rows(self, after: int) -> Iterator[Sequence[RowMapping]]:
        """`id, radius, sketch, chain` of the rows with `id > after`, in order, in pieces."""
        columns = select(regions.c.id, regions.c.radius, regions.c.sketch, regions.c.chain)
        return self._stream(
            columns.where(regions.c.id > after).order_by(regions.c.id), 16 * ROWS_PER_QUERY
        )

    def rows(self, at_once: int) -> Iterator[Sequence[RowMapping]]:
        """All rows with their inputs, in order, `at_once` at a time."""
        return self._stream(_whole().order_by(regions.c.id), at_once)

    def get(self, numbers: Sequence[int], at_once: int) -> Iterator[Sequence[RowMapping]]:
        """The rows with these ids and their inputs, `at_once` at a time."""
        for low in range(0, len(numbers), at_once):
            query = _whole().where(regions.c.id.in_(numbers[low : low + at_once]))
            yield self.connection.execute(query).mappings().all()

    def find(self, digests: Sequence[str]) -> dict[str, RowMapping]:
        """The rows of the inputs with these digests, by digest, without the inputs."""
        found: dict[str, RowMapping] = {}
        for low in range(0, len(digests), ROWS_PER_QUERY):
            query = select(regions).where(
                regions.c.input_digest.in_(digests[low : low + ROWS_PER_QUERY])
            )
            found |= {row["input_digest"]: row for row in self.connection.execute(query).mappings()}
        return found

    def append(self, entries: Sequence[Entry], sketches: Sketch, before: Head) -> Head:
        """Insert entries at the end of the chain.

        Args:
            entries: with the ids that follow.
            sketches: `[len(entries), SKETCH_SIZE]`.
            before: the head so far.
        """
        if not entries:
            return before
        chain = before.chain or genesis(self.meta())
        rows = []
        for entry, values in zip(entries, sketches, strict=True):
            row = region_row(entry)
            chain = link(chain, row)
            rows.append({**row, "sketch": values.astype("<f4").tobytes(), "chain": chain})
        self.connection.execute(insert(regions), rows)
        self.connection.execute(insert(inputs), [input_row(entry) for entry in entries])
        after = Head(before.count + len(entries), chain)
        self._set_head(1, after)
        return after

    def tried(self, digests: Sequence[str]) -> dict[str, list[Abstention]]:
        """The abstentions at the inputs with these digests, by digest and in order.

        Raises:
            StoreError: one of them is damaged.
        """
        found: dict[str, list[Abstention]] = {}
        for low in range(0, len(digests) if self._remembers else 0, ROWS_PER_QUERY):
            some = digests[low : low + ROWS_PER_QUERY]
            query = select(abstentions).where(abstentions.c.input_digest.in_(some))
            for row in self.connection.execute(query.order_by(abstentions.c.id)).mappings():
                found.setdefault(row["input_digest"], []).append(self.abstention(row))
        return found

    def abstention_rows(self, after: int, at_most: int) -> Sequence[RowMapping]:
        """The abstentions with `id > after`, in order, `at_most` of them."""
        if not self._remembers:
            return []
        query = select(abstentions).where(abstentions.c.id > after).order_by(abstentions.c.id)
        return self.connection.execute(query.limit(at_most)).mappings().all()

    def abstention(self, row: RowMapping) -> Abstention:
        """The abstention of a row.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return abstention_of(row)
        except InputError as error:
            raise StoreError(
                f"abstention {row['id']} of the memory is damaged ({error}): audit it and restore "
                "it from a copy"
            ) from error

    def remember(self, new: Sequence[Abstention], before: Head) -> Head:
        """Insert abstentions at the end of their chain.

        Args:
            new: with the ids that follow.
            before: the head of the abstentions so far.
        """
        if not new:
            return before
        chain = before.chain or genesis({"norm": self.meta()["norm"]})
        rows = []
        for row in map(abstention_row, new):
            chain = link(chain, row, CHAINED_ABSTENTION)
            rows.append({**row, "chain": chain})
        self.connection.execute(insert(abstentions), rows)
        after = Head(before.count + len(new), chain)
        self._set_head(2, after)
        return after

    def stored(self) -> int:
        """The number of rows in `regions`, counted."""
        return self.connection.execute(select(func.count()).select_from(regions)).scalar_one()

    def meta(self) -> dict[str, str]:
        """What the store says about itself."""
        return {row.key: row.value for row in self.connection.execute(select(meta))}

    def set_meta(self, **values: str) -> None:
        """Record facts about the store that are not recorded yet."""
        rows = [{"key": key, "value": value} for key, value in values.items()]
        self.connection.execute(insert(meta), rows)

    def create(self, norm: str) -> None:
        """Make the tables of an empty store."""
        tables.create_all(self.connection, checkfirst=False)  # what is there is not ours
        self.set_meta(schema_version=str(SCHEMA_VERSION), norm=norm)
        self.connection.execute(insert(head), [EMPTY | {"id": 1}, EMPTY | {"id": 2}])

    def _set_head(self, row: int, after: Head) -> None:
        values = {"entries": after.count, "chain": after.chain}
        self.connection.execute(update(head).where(head.c.id == row).values(values))

    def _stream(self, query: Select[Any], at_once: int) -> Iterator[Sequence[RowMapping]]:
        options = {"yield_per": at_once}
        yield from self.connection.execute(query, execution_options=options).mappings().partitions()


def _whole() -> Select[Any]:
    """Every column; an input that is missing reads as NULL."""
    joined = regions.outerjoin(inputs, regions.c.id == inputs.c.id)
    columns = (inputs.c.dtype, inputs.c.encoding, inputs.c.x)
    return select(regions, *columns).select_from(joined)
