"""Stores of earlier versions, brought up to date: one function and one transaction per version.

Each function makes the tables of today.

The tables of the old version are described here as they were, so that the code that made
them can change and this does not.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
    text,
    update,
)

from ddrs.errors import InputError, StoreError
from ddrs.memory.entries import Entry, from_row
from ddrs.memory.store.tables import (
    EMPTY,
    ROWS_PER_QUERY,
    SCHEMA_VERSION,
    Transaction,
    abstentions,
    head,
    inputs,
    meta,
    real,
    regions,
    tables,
)
from ddrs.memory.view import read_shape, sketches

__all__ = ["MIGRATIONS", "READABLE", "TABLES", "upgrade"]


def upgrade(transaction: Transaction, version: str) -> None:
    """Bring the tables of `version` to `SCHEMA_VERSION`.

    Raises:
        StoreError: an entry is damaged; the transaction must be rolled back.
    """
    MIGRATIONS[version](transaction)
    stamp = update(meta).where(meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION))
    transaction.connection.execute(stamp)


_regions_of_1 = Table(
    "regions",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("input_digest", Text, nullable=False, unique=True),
    Column("x", LargeBinary, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("prediction", Integer, nullable=False),
    Column("radius", real, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("claimed_prediction", Integer, nullable=False),
    Column("claimed_radius", real, nullable=False),
    Column("evidence", Text),
)

# The tables of every version; `meta` has always been the same, the others of 2 are those of today.
TABLES: dict[str, Sequence[Table]] = {
    "1": (_regions_of_1, meta),
    "2": (regions, inputs, head, meta),
    str(SCHEMA_VERSION): tuple(tables.tables.values()),
}


def _from_1(transaction: Transaction) -> None:
    """Version 1 had one table, inputs in their own bytes, no sketches and no chain."""
    connection = transaction.connection
    facts = transaction.meta()
    norm = facts.get("norm")
    if norm not in ("l1", "l2"):
        raise StoreError(
            f"the memory was made for the norm {norm!r}, which is unknown, so it was not upgraded: "
            "restore it from a copy"
        )
    shape = read_shape(facts) if "shape" in facts else ()
    connection.execute(text("ALTER TABLE regions RENAME TO regions_1"))
    connection.execute(text("ALTER TABLE meta RENAME TO meta_1"))
    transaction.create(norm)
    connection.execute(text("DROP TABLE meta_1"))
    kept = {k: v for k, v in facts.items() if k not in ("norm", "schema_version")}
    if kept:
        transaction.set_meta(**kept)
    head = transaction.head()
    entries = _entries_of_1(transaction, shape)
    while rows := list(islice(entries, ROWS_PER_QUERY)):
        head = transaction.append(rows, sketches([entry.point for entry in rows]), head)
    connection.execute(text("DROP TABLE regions_1"))


def _entries_of_1(transaction: Transaction, shape: tuple[int, ...]) -> Iterator[Entry]:
    renamed = _regions_of_1.to_metadata(MetaData(), name="regions_1")
    query = select(renamed).order_by(renamed.c.id)
    options = {"yield_per": ROWS_PER_QUERY}
    rows = transaction.connection.execute(query, execution_options=options).mappings()
    for number, row in enumerate(rows, start=1):
        try:
            if row["id"] != number:
                raise InputError("entries before it were deleted")
            yield from_row({**row, "encoding": "raw"}, shape)
        except InputError as error:
            raise StoreError(
                f"entry {row['id']} of the memory is damaged ({error}), so it was not upgraded: "
                "restore it from a copy"
            ) from error


def _from_2(transaction: Transaction) -> None:
    """Version 2 did not remember abstentions."""
    abstentions.create(transaction.connection, checkfirst=False)
    transaction.connection.execute(insert(head).values(EMPTY | {"id": 2}))


MIGRATIONS: dict[str, Callable[[Transaction], Any]] = {"1": _from_1, "2": _from_2}
READABLE = ("2", str(SCHEMA_VERSION))  # versions that need no upgrade to be read
