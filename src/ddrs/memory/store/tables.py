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
    bindparam,
    func,
    insert,
    select,
    update,
)

from ddrs.errors import StoreError
from ddrs.memory.chain import genesis, link
from ddrs.memory.entries import Entry, input_row, region_row
from ddrs.memory.sketch import Sketch

__all__ = [
    "ROWS_PER_QUERY",
    "SCHEMA_VERSION",
    "Head",
    "Transaction",
    "head",
    "inputs",
    "meta",
    "real",
    "regions",
    "tables",
]

SCHEMA_VERSION = 2

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
# One row: how many entries there are, and the end of their chain.
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
_head_and_chain = select(head.c.entries, head.c.chain, regions.c.chain).select_from(
    head.outerjoin(regions, regions.c.id == bindparam("number"))
)

ROWS_PER_QUERY = 256  # that are read, or asked for by name, at once


@dataclass(frozen=True, slots=True)
class Head:
    """The number of entries and the end of their chain; empty before the first entry."""

    count: int
    chain: str


class Transaction:
    """Statements inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def head(self) -> Head:
        """How many entries there are.

        Raises:
            StoreError: the store does not say.
        """
        return self.head_and_chain(0)[0]

    def head_and_chain(self, number: int) -> tuple[Head, object]:
        """The head, and the chain of entry `number` as it is stored, None where there is none.

        Raises:
            StoreError: the store does not say how many entries there are.
        """
        rows = self.connection.execute(_head_and_chain, {"number": number}).all()
        if len(rows) != 1 or not isinstance(rows[0][0], int) or not isinstance(rows[0][1], str):
            raise StoreError(
                "the memory no longer says how many entries it has: the store was altered; "
                "audit it and restore it from a copy"
            )
        return Head(*rows[0][:2]), rows[0][2]

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
        self.connection.execute(update(head).values(entries=after.count, chain=after.chain))
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
        self.connection.execute(insert(head).values(id=1, entries=0, chain=""))

    def _stream(self, query: Select[Any], at_once: int) -> Iterator[Sequence[RowMapping]]:
        options = {"yield_per": at_once}
        yield from self.connection.execute(query, execution_options=options).mappings().partitions()


def _whole() -> Select[Any]:
    """Every column; an input that is missing reads as NULL."""
    joined = regions.outerjoin(inputs, regions.c.id == inputs.c.id)
    columns = (inputs.c.dtype, inputs.c.encoding, inputs.c.x)
    return select(regions, *columns).select_from(joined)
