"""Where the entries live: SQLAlchemy Core tables, and transactions that check and insert at once.

A store is SQLite: a file in write-ahead mode whose commits reach the disk before they return
(`synchronous=FULL`), or the same tables in this process alone for `memory://`. Another database
needs its own lines in `parse_url`, `_open_engine`, `_explain` and `WRITE`; the tables and the
transactions stay.

The sqlite3 driver must not start transactions by itself: it would do so only at the first INSERT,
after the check. `isolation_level = None` stops it and the `begin` event starts them instead, with
`BEGIN IMMEDIATE` for a writer, who thereby holds the only write lock from the first read on.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    REAL,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from ddrs.errors import ConfigurationError, StoreError
from ddrs.memory.entries import Entry, to_row

__all__ = ["SCHEMA_VERSION", "Store", "Transaction", "parse_url"]

SCHEMA_VERSION = 1

tables = MetaData()
_real: Double[float] = Double().with_variant(REAL(), "sqlite")
regions = Table(
    "regions",
    tables,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ... by entry
    Column("input_digest", Text, nullable=False, unique=True),
    Column("x", LargeBinary, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("prediction", Integer, nullable=False),
    Column("radius", _real, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("claimed_prediction", Integer, nullable=False),
    Column("claimed_radius", _real, nullable=False),
    Column("evidence", Text),
)
meta = Table(
    "meta",
    tables,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

WRITE = "BEGIN IMMEDIATE"
READ = "BEGIN"


def parse_url(url: str) -> str | None:
    """The absolute path of a `sqlite:///` URL, or None for `memory://`.

    Raises:
        ConfigurationError: any other URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{url!r} is no memory URL: {_USE}") from error
    kind = parsed.drivername.split("+")[0]
    if kind in ("postgresql", "postgres"):
        raise ConfigurationError(f"PostgreSQL is not supported yet by this version: {_USE}")
    plain = parsed == URL.create(parsed.drivername, database=parsed.database)
    if parsed.drivername == "memory" and plain and not parsed.database:
        return None
    if parsed.drivername == "sqlite" and plain and parsed.database not in (None, "", ":memory:"):
        return os.path.abspath(str(parsed.database))
    raise ConfigurationError(f"{parsed} is no memory URL: {_USE}")


_USE = "use memory:// or sqlite:///file.db"


class Transaction:
    """Statements inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def rows(self, after: int = 0) -> Iterator[Row[Any]]:
        """The rows with `id > after`, in order, a few at a time."""
        query = select(regions).where(regions.c.id > after).order_by(regions.c.id)
        yield from self.connection.execute(query.execution_options(yield_per=256))

    def find(self, digest: str) -> Row[Any] | None:
        """The row of the input with this digest."""
        query = select(regions).where(regions.c.input_digest == digest)
        return self.connection.execute(query).one_or_none()

    def get(self, number: int) -> Row[Any] | None:
        """The row with this id."""
        query = select(regions).where(regions.c.id == number)
        return self.connection.execute(query).one_or_none()

    def append(self, entry: Entry) -> None:
        """Insert an entry."""
        self.connection.execute(insert(regions), to_row(entry))

    def count(self) -> int:
        """Number of stored entries."""
        return self.connection.execute(select(func.count()).select_from(regions)).scalar_one()

    def meta(self) -> dict[str, str]:
        """What the store says about itself."""
        return {row.key: row.value for row in self.connection.execute(select(meta))}

    def set_meta(self, **values: str) -> None:
        """Record facts about the store that are not recorded yet."""
        rows = [{"key": key, "value": value} for key, value in values.items()]
        self.connection.execute(insert(meta), rows)


class Store:
    """One open connection to a store, for one process; callers take turns.

    Args:
        path: the SQLite file, or None for a store in this process.
        timeout: seconds to wait for another process's transaction.
        norm: recorded in a fresh store; None where there must be one already.

    Raises:
        StoreError: no store can be opened there, it is damaged, foreign, or from a newer version.
    """

    def __init__(self, path: str | None, timeout: float, norm: str | None) -> None:
        self._path = path
        self._timeout = timeout
        self._process = os.getpid()
        self._closed = False
        self._files: list[tuple[int, int] | None] = []
        self._engine = _open_engine(path, timeout)
        try:
            self._open(norm)
        except BaseException:
            self.close()
            raise
        self._files = self._identities()

    def close(self) -> None:
        """Close the connection. A forked child leaves its parent's alone."""
        if not self._closed and self._process == os.getpid():
            self._engine.dispose()
        self._closed = True

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Transaction]:
        """One transaction: committed and durable when it ends well, else without effect.

        Raises:
            StoreError: the store is locked, full, damaged, deleted, closed or of another process.
        """
        if self._closed:
            raise StoreError("the memory is closed: open it again")
        if self._process != os.getpid():
            raise StoreError("the memory was opened before this process forked: open it here again")
        engine = self._engine.execution_options(begin=WRITE if write else READ)
        with self._explained(), engine.begin() as connection:
            yield Transaction(connection)
            if self._files and self._identities() != self._files:
                raise StoreError(
                    f"{self._path} was deleted or replaced while it was open: nothing was written; "
                    "put it back and open the memory again"
                )

    def _open(self, norm: str | None) -> None:
        with self.transaction() as transaction:
            # Before anything is written to a foreign file.
            if not self._check_version(transaction) and norm is None:
                raise StoreError(f"{self._path} holds no memory: check the path")
        with self._explained():
            self._configure()
        with self.transaction() as transaction:  # the first read also makes the log's file
            if self._check_version(transaction):
                return
        with self.transaction(write=True) as transaction:
            # Another process may have been faster; without a norm the first check has passed.
            if norm is not None and not self._check_version(transaction):
                tables.create_all(transaction.connection)
                transaction.set_meta(schema_version=str(SCHEMA_VERSION), norm=norm)

    def _check_version(self, transaction: Transaction) -> bool:
        """Whether the tables are there; refuses those that are not this version's."""
        names = set(inspect(transaction.connection).get_table_names())
        if not names:
            return False
        if not names >= {"meta", "regions"}:
            raise StoreError(f"{self._path} is a database but no ddrs memory: choose another file")
        version = transaction.meta().get("schema_version")
        if version != str(SCHEMA_VERSION):
            raise StoreError(
                f"{self._path} has memory version {version}, this ddrs reads {SCHEMA_VERSION}: "
                "upgrade ddrs or choose another file"
            )
        return True

    def _configure(self) -> None:
        """Durable write-ahead mode. Outside transactions, and SQLite does not wait here itself."""
        raw = self._engine.raw_connection()
        deadline = time.monotonic() + self._timeout
        try:
            while True:
                try:
                    raw.cursor().execute("PRAGMA synchronous=FULL")
                    raw.cursor().execute("PRAGMA journal_mode=WAL")
                    return
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
        finally:
            raw.close()

    def _identities(self) -> list[tuple[int, int] | None]:
        """Device and inode of the file and of its write-ahead log."""
        return [] if self._path is None else [_identity(self._path), _identity(f"{self._path}-wal")]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise StoreError(f"{self._path or 'memory://'} {_explain(cause)}") from error


def _open_engine(path: str | None, timeout: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=path),
        poolclass=StaticPool,
        connect_args={"timeout": timeout, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options()["begin"])

    return engine


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _explain(error: BaseException | None) -> str:
    reasons = {
        sqlite3.SQLITE_BUSY: "is locked by another process: wait for it or raise the timeout",
        sqlite3.SQLITE_READONLY: "cannot be written: check its permissions",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its directory exists, with access",
        sqlite3.SQLITE_FULL: "cannot grow: the disk is full; nothing of this call was stored",
        sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a copy",
        sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file",
    }
    reason = reasons.get(_code(error), "failed: nothing of this call was stored")
    return f"{reason} ({error})"
