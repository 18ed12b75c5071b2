"""A memory in a PostgreSQL database: clients on many machines, one writer at a time.

A writer first takes an advisory lock that ends with its transaction; at READ COMMITTED each of its
statements then sees everything that was committed before. A reader reads one snapshot
(REPEATABLE READ). The server has to write its log to the disk before a commit returns:
`synchronous_commit` is set for every transaction, and a server with `fsync=off` is refused.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from ddrs.errors import MissingDependencyError, StoreError
from ddrs.memory.store.schema import foreign_to_postgresql
from ddrs.memory.store.urls import passwords, without_password

__all__ = ["PostgreSQL"]

ADVISORY_LOCK = 0x64647273  # "ddrs": of everybody who writes to a memory

# Appendix A of PostgreSQL's manual: error codes.
REASONS = {
    "55P03": "is locked by another client: wait for it or raise the timeout",
    "57014": "cancelled a statement, as it does with slow ones: raise its statement_timeout",
    "53100": "cannot grow: the server's disk is full",
    "25006": "cannot be written: the server or this user may only read",
    "42501": "cannot be used: this user lacks the rights",
}
MOST_MILLISECONDS = 2**31 - 1  # that PostgreSQL can count


class PostgreSQL:
    """Meets `Database`.

    Args:
        url: of the database.
        timeout: seconds to wait for a connection, and for another client's transaction.

    Raises:
        MissingDependencyError: psycopg is not installed.
    """

    def __init__(self, url: URL, timeout: float) -> None:
        # Without the query, which may say how one logs in.
        shown = without_password(url).set(query={})
        self.name = shown.render_as_string(hide_password=False)
        self._secrets = passwords(url)
        self._timeout = timeout
        seconds = min(max(2, round(timeout)), MOST_MILLISECONDS // 1000)
        try:
            self.engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                pool_size=1,
                max_overflow=0,
                connect_args={
                    "application_name": "ddrs",
                    "connect_timeout": seconds,
                    # A peer that fell silent is given up after this long, not after hours.
                    "tcp_user_timeout": 1000 * seconds,
                    "keepalives_idle": seconds,
                }
                | dict(url.query),
            )
        except ImportError as error:
            raise MissingDependencyError(
                "a memory in PostgreSQL needs psycopg: pip install 'ddrs[postgresql]'"
            ) from error

    def exists(self) -> bool:
        """Only a connection can tell."""
        return True

    def configure(self) -> None:
        """Nothing to set for good, but a server that does not write to its disk is refused.

        Raises:
            StoreError: it has `fsync=off`.
        """
        with self.engine.connect() as connection:
            if connection.execute(text("SHOW fsync")).scalar_one() != "on":
                raise StoreError(
                    f"{self.name} is served with fsync=off, so a crash could lose answers that "
                    "were given: turn it on"
                )

    def begin(self, connection: Connection, *, write: bool) -> None:
        """A writer waits for the lock; a reader gets a snapshot."""
        if write:
            # Whatever the database is set to: a snapshot would be older than the lock.
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"))
            connection.execute(text("SET LOCAL synchronous_commit = 'on'"))
            patience = min(
                max(1, round(1000 * self._timeout)), MOST_MILLISECONDS
            )  # 0 would be for ever
            connection.execute(text(f"SET LOCAL lock_timeout = {patience}"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        else:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))

    def check(self) -> None:
        """Nothing can take a server's tables from under an open transaction."""

    def foreign(
        self, connection: Connection, tables: Sequence[Table], *, alone: bool
    ) -> str | None:
        """Triggers, rules, policies and more, as the catalogue tells; others may have tables."""
        return foreign_to_postgresql(connection, tables)

    def keep_copy(self, connection: Connection, version: str) -> None:
        """Copies of the tables in the same database, named `..._version_V`."""
        for name in inspect(connection).get_table_names():
            connection.execute(text(f'CREATE TABLE "{name}_version_{version}" AS TABLE "{name}"'))

    def explain(self, error: DBAPIError) -> str:
        """By the error's code; a server that cannot be reached sends none."""
        reason = REASONS.get(getattr(error.orig, "sqlstate", None) or "")
        if reason is None and self.lost(error):
            reason = "cannot be reached: check that the server runs, and the name and password"
        words = str(error.orig)
        if any(secret in words for secret in self._secrets):
            words = "the driver's own words hold the password"
        return f"{reason or 'failed: nothing of this call was stored'} ({words})"

    def lost(self, error: DBAPIError) -> bool:
        """The connection ended, or could not be made: then there is no code."""
        unreachable = isinstance(error, OperationalError) and not getattr(
            error.orig, "sqlstate", None
        )
        return error.connection_invalidated or unreachable
