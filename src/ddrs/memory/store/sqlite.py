"""A memory in an SQLite file, or in this process alone.

A file that is only read, in a directory that nobody here can write to, and that no writer left a
log beside, is taken as one that does not change (`immutable`): on such a medium SQLite could not
make the files that readers and writers share. Every transaction sees that it did not change.

A file is in write-ahead mode and its commits reach the disk before they return
(`synchronous=FULL`). The sqlite3 driver must not start transactions by itself: it would do so only
at the first INSERT, after the check. `isolation_level = None` stops it and `begin` starts them,
with `BEGIN IMMEDIATE` for a writer, who thereby holds the only write lock from the first read on.
"""

import filecmp
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from ddrs.errors import DDRSError, StoreError
from ddrs.files import check_file, clear_leftovers, made_beside, sync
from ddrs.memory.store.schema import foreign_to_sqlite

__all__ = ["SQLite", "copy_store", "unmade_on_error"]

ENDS = ("", "-wal", "-shm", "-journal")  # of the files that make a store
NO_ROOM = "could not be written: the disk may be full or unwell; nothing of this call was stored"


@contextmanager
def unmade_on_error(path: str | None) -> Iterator[None]:
    """Fill a store: one that was not there before is gone again if that fails.

    An interruption is no failure: what it leaves can be gone on with.

    Args:
        path: of the store; None for one that is no file.
    """
    if path is None or os.path.exists(path):
        yield
        return
    try:
        yield
    except DDRSError:
        for end in ENDS:
            Path(f"{path}{end}").unlink(missing_ok=True)
        raise


class SQLite:
    """Meets `Database`.

    Args:
        path: the file, or None for a store in this process.
        timeout: seconds to wait for another process's transaction.
        read_only: never write to the file.

    Raises:
        StoreError: a pipe, device or socket is in its place, or in that of a file beside it.
    """

    def __init__(self, path: str | None, timeout: float, *, read_only: bool) -> None:
        self.name = path or "memory://"
        self._fixed = read_only and path is not None and _cannot_change(path)
        self.engine = _engine(path, timeout, read_only, self._fixed)
        self._path = path
        self._timeout = timeout
        self._read_only = read_only
        self._files: list[tuple[int, ...] | None] = []
        for suffix in ENDS if path else ():
            try:
                check_file(f"{path}{suffix}")
            except OSError as error:
                raise StoreError(f"{path}{suffix} cannot be used: {error.strerror}") from error

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path is not None and os.path.exists(self._path)

    def configure(self) -> None:
        """Durable write-ahead mode. Outside transactions, and SQLite does not wait here itself.

        Raises:
            StoreError: the file cannot be brought into that mode.
        """
        if not self._read_only:
            try:
                self._set_modes()
            except sqlite3.Error as error:
                raise StoreError(f"{self.name} {self._explain(error)}") from error
        with self.engine.connect() as connection:  # a first read makes the log's file
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        self._files = self._identities()

    def begin(self, connection: Connection, *, write: bool) -> None:
        """`BEGIN IMMEDIATE` waits for the lock, `BEGIN` fixes what is read at its first read."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def check(self) -> None:
        """The file and its log are those that were opened.

        Raises:
            StoreError: they are not.
        """
        if self._files and self._identities() != self._files:
            if self._fixed:
                raise StoreError(
                    f"{self._path} was changed while it was read, in a directory that cannot be "
                    "written to: open the memory again"
                )
            raise StoreError(
                f"{self._path} was deleted or replaced while it was open: nothing was written; "
                "put it back and open the memory again"
            )

    def foreign(
        self, connection: Connection, tables: Sequence[Table], *, alone: bool
    ) -> str | None:
        """A file holds a memory and nothing else: no trigger, view, index or further table."""
        return foreign_to_sqlite(connection, tables, alone=alone)

    def keep_copy(self, connection: Connection, version: str) -> None:
        """Copy the file to `FILE.version-V`, or to that with a number if another file is there.

        An upgrade that failed has left the same copy, which is then taken.

        Raises:
            StoreError: the copy cannot be written.
        """
        if self._path is None:
            return
        target = f"{self._path}.version-{version}"
        partial = ""
        number = 1
        try:
            clear_leftovers(Path(target))  # we hold the write lock: nobody else makes a copy
            partial = str(made_beside(Path(target)))
            copy_store(self._path, partial)
            while os.path.lexists(target) and not _same(partial, target):
                number += 1
                target = f"{self._path}.version-{version}.{number}"
            os.replace(partial, target)
            sync(os.path.dirname(target))
        except (sqlite3.Error, OSError) as error:
            with suppress(OSError):
                os.remove(partial)
            raise StoreError(
                f"no copy of {self._path} could be kept at {target} ({error}): it is unchanged; "
                "make room, or choose another file"
            ) from error

    def explain(self, error: DBAPIError) -> str:
        """By SQLite's primary result code."""
        return self._explain(error.orig)

    def _explain(self, error: BaseException | None) -> str:
        reasons = {
            sqlite3.SQLITE_BUSY: "is locked by another process: wait for it or raise the timeout",
            sqlite3.SQLITE_READONLY: "cannot be written: check its permissions",
            sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its directory exists, with "
            "access; from a medium that cannot be written, copy it and what is beside it first",
            sqlite3.SQLITE_FULL: "cannot grow: the disk is full; nothing of this call was stored",
            sqlite3.SQLITE_IOERR_WRITE: NO_ROOM,
            sqlite3.SQLITE_IOERR_SHMSIZE: NO_ROOM,
            sqlite3.SQLITE_IOERR_SHMMAP: NO_ROOM,
            sqlite3.SQLITE_IOERR_TRUNCATE: NO_ROOM,
            sqlite3.SQLITE_IOERR_FSYNC: "could not be synced: check its disk, open it again, and "
            "ask again for the answers of this call",
            sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a copy",
            sqlite3.SQLITE_NOTADB: "is not a SQLite database: choose another file",
        }
        extended = getattr(error, "sqlite_errorcode", 0)
        reason = reasons.get(extended) or reasons.get(_code(error))
        reason = reason or "failed: nothing of this call was stored"
        return f"{reason} ({error})"

    def lost(self, error: DBAPIError) -> bool:
        """Never: a failed commit is rolled back before it returns."""
        return False

    def _set_modes(self) -> None:
        raw = self.engine.raw_connection()
        deadline = time.monotonic() + self._timeout
        try:
            while True:
                try:
                    raw.cursor().execute("PRAGMA synchronous=FULL")
                    mode = raw.cursor().execute("PRAGMA journal_mode=WAL").fetchone()[0]
                    break
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
        finally:
            raw.close()
        if self._path is not None and mode != "wal":
            raise StoreError(
                f"{self._path} cannot be used in write-ahead mode (it is in {mode!r}): put it on a "
                "local disk"
            )

    def _identities(self) -> list[tuple[int, ...] | None]:
        """Device and inode of the file and of its write-ahead log.

        Where it is taken as one that does not change, its size and time too.
        """
        if self._path is None:
            return []
        return [_identity(f"{self._path}{end}", self._fixed) for end in ("", "-wal")]


def _cannot_change(path: str) -> bool:
    """Whether a file can be read alone, because no process here can write beside it.

    Entries in a write-ahead log would be missed, so such a file is left to SQLite.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isfile(path) or os.access(folder, os.W_OK):
        return False
    log = f"{path}-wal"
    return not os.path.exists(log) or (
        os.path.getsize(log) == 0 and not os.path.exists(f"{path}-shm")
    )


def _engine(path: str | None, timeout: float, read_only: bool, fixed: bool) -> Engine:
    options = {"timeout": timeout, "check_same_thread": False}
    url = URL.create("sqlite", database=path)
    if read_only:
        url = URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro"})
        url = url.update_query_dict({"uri": "true"})
    if fixed:
        url = url.update_query_dict({"immutable": "1"})
    engine = create_engine(url, poolclass=StaticPool, connect_args=options)

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        # What a stranger's schema calls may not reach beyond its own data.
        connection.execute("PRAGMA trusted_schema = OFF")

    @event.listens_for(engine, "handle_error")
    def stay_connected(context: ExceptionContext) -> None:
        # After an interrupt SQLAlchemy would connect anew: without our settings, to a log that is
        # not the one that was opened, or to an empty store in this process.
        context.is_disconnect = False

    return engine


def copy_store(path: str, target: str) -> None:
    """Copy the last committed state to an empty file, on the disk when this returns.

    Args:
        path: the file of a memory; it is not written to.
        target: the empty file.

    Raises:
        sqlite3.Error, OSError: it cannot be read, or the copy not be written.
    """
    mode = "mode=ro&immutable=1" if _cannot_change(path) else "mode=ro"
    with (  # readers go on beside the writer
        closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?{mode}", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    sync(target)


def _same(one: str, other: str) -> bool:
    """Whether two files hold the same; what is no file of its own holds nothing like it."""
    if os.path.islink(other) or not os.path.isfile(other):
        return False
    return filecmp.cmp(one, other, shallow=False)


def _identity(path: str, content: bool) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    found = (status.st_dev, status.st_ino)
    return (*found, status.st_size, status.st_mtime_ns) if content else found


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
