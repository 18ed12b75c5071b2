"""A store that is open: transactions that check and insert at once, on any kind of database.

SQLite and PostgreSQL are two modules beside this one; `parse_url` and `_database` know them by
name. Another database needs a module that meets `Database`, and its lines there.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Table, inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from ddrs.errors import StoreError
from ddrs.memory.store.database import Database
from ddrs.memory.store.migrations import MIGRATIONS, READABLE, TABLES, upgrade
from ddrs.memory.store.postgresql import PostgreSQL
from ddrs.memory.store.sqlite import SQLite
from ddrs.memory.store.tables import SCHEMA_VERSION, Transaction, meta, tables

__all__ = ["Store"]

T = TypeVar("T")

RETRY_SECONDS = 0.1  # between attempts to reach a database that is gone


def _database(url: URL, timeout: float, read_only: bool) -> Database:
    if url.drivername == "postgresql":
        return PostgreSQL(url, timeout)
    return SQLite(url.database or None, timeout, read_only=read_only)


class Store:
    """One open connection to a store, for one process; callers take turns.

    Args:
        url: as `parse_url` gives it.
        timeout: seconds to wait for another writer, and for a database that is gone to come back.
        norm: recorded in a fresh store; None where there must be one already.
        read_only: refuse every write; there must be a store already.

    Raises:
        StoreError: no store can be opened there, it is damaged, foreign, or from a newer version.
    """

    def __init__(self, url: URL, timeout: float, norm: str | None, *, read_only: bool) -> None:
        self.read_only = read_only
        self._timeout = timeout
        self._process = os.getpid()
        self._closed = False
        self._tables_of = str(SCHEMA_VERSION)
        self._db = _database(url, timeout, read_only)
        self._norm = None if read_only else norm
        if self._norm is None and not self._db.exists():
            raise StoreError(f"there is no memory at {self._db.name}: check the path")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The store, as messages call it."""
        return self._db.name

    def close(self) -> None:
        """Close the connection. A forked child leaves its parent's alone."""
        if not self._closed and self._process == os.getpid():
            self._db.engine.dispose()
        self._closed = True

    def run(self, work: Callable[[Transaction], T], *, write: bool = False) -> T:
        """Do `work` in one transaction: committed and durable when it ends well, else undone.

        Where the connection is lost nobody knows whether a commit was reached. `work` is then done
        again as soon as the database is back, so it must find what it has stored before.

        Raises:
            StoreError: the store is locked, full, damaged, deleted, gone, closed or of another
                process.
        """
        if write and self.read_only:
            raise StoreError(f"{self._db.name} was opened read-only: open it for writing")
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return self._once(work, write)
            except DBAPIError as error:
                with self._explained():
                    if not self._db.lost(error):
                        raise
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{self._db.name} {self._db.explain(error)}; it did not come back "
                        f"within {self._timeout:g} s and whether the answers of this call were "
                        "stored is not known: ask for them again"
                    ) from error
                time.sleep(RETRY_SECONDS)

    def check_schema(self, transaction: Transaction) -> None:
        """See that the store has the tables that this code makes, and nothing else.

        Raises:
            StoreError: it has not.
        """
        self._check_tables(transaction, TABLES[self._tables_of])

    def _once(self, work: Callable[[Transaction], T], write: bool) -> T:
        if self._closed:
            raise StoreError("the memory is closed: open it again")
        if self._process != os.getpid():
            raise StoreError("the memory was opened before this process forked: open it here again")
        try:
            with self._db.engine.begin() as connection:
                self._db.begin(connection, write=write)
                remembers = self._tables_of == str(SCHEMA_VERSION)
                result = work(Transaction(connection, remembers=remembers))
                self._db.check()
                return result
        except UnicodeDecodeError as error:  # from sqlite3, whose message repeats what is no text
            raise StoreError(f"{self._db.name} is damaged: restore it from a copy") from error

    def _open(self) -> None:
        with self._explained():
            if self._once(self._version, write=False) is None and self._norm is None:
                raise StoreError(f"there is no memory at {self._db.name}: check the path")
            self._db.configure()  # not earlier: this may write to the file
            version = self._once(self._version, write=False)
            if version == str(SCHEMA_VERSION):
                return
            if self.read_only and version in READABLE:
                self._tables_of = version
                return
            if self.read_only:
                raise StoreError(
                    f"{self._db.name} is of an older version: open it for writing once to upgrade "
                    "it"
                )
            self._once(self._prepare, write=True)

    def _version(self, transaction: Transaction) -> str | None:
        """The version of the tables, None if there are none; refuses what is not ours.

        Nothing is read before it is known to be a plain table of ours.
        """
        found = inspect(transaction.connection)
        views = set(found.get_view_names()) & set(tables.tables)
        names = {*found.get_table_names(), *views}
        if not names:
            self._check_tables(transaction, ())
            return None
        if not names >= {"meta", "regions"}:
            raise StoreError(f"{self._db.name} is a database but no ddrs memory: choose another")
        self._check_tables(transaction, [meta], alone=False)
        version = transaction.meta().get("schema_version", "")
        if version != str(SCHEMA_VERSION) and version not in MIGRATIONS:
            raise StoreError(
                f"{self._db.name} has memory version {version}, this ddrs reads up to "
                f"{SCHEMA_VERSION}: upgrade ddrs or choose another"
            )
        self._check_tables(transaction, TABLES[version])
        return version

    def _check_tables(
        self, transaction: Transaction, expected: Sequence[Table], *, alone: bool = True
    ) -> None:
        foreign = self._db.foreign(transaction.connection, expected, alone=alone)
        if foreign is not None:
            raise StoreError(
                f"{self._db.name} is no memory as ddrs makes it: {foreign}; it was altered or made "
                "by another program, so choose another or restore it from a copy"
            )

    def _prepare(self, transaction: Transaction) -> None:
        """Create or upgrade the tables, unless another process has done so by now."""
        version = self._version(transaction)
        if version is None:
            if self._norm is not None:
                transaction.create(self._norm)
        elif version != str(SCHEMA_VERSION):
            self._db.keep_copy(transaction.connection, version)
            upgrade(transaction, version)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(f"{self._db.name} {self._db.explain(error)}") from error
