"""A memory in a PostgreSQL database: clients on many machines, one writer at a time.

A writer first takes an advisory lock that ends with its transaction; at READ COMMITTED each of its
statements then sees everything that was committed before. A reader reads one snapshot
(REPEATABLE READ). The server has to write its log to the disk before a commit returns:
`synchronous_commit` is set for every transaction, and a server with `fsync=off` is refused.
"""

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL

from ddrs.errors import MissingDependencyError, StoreError

__all__ = ["PostgreSQL"]

LOCK = 0x64647273  # the advisory lock of everybody who writes to a memory: "ddrs"

# Appendix A of PostgreSQL's manual: error codes.
CONNECTION, SHUTDOWN = "08", ("57P01", "57P02", "57P03")
REASONS = {
    "55P03": "is locked by another client: wait for it or raise the timeout",
    "53100": "cannot grow: the server's disk is full; nothing of this call was stored",
    "42501": "cannot be used: this user lacks the rights",
}


class PostgreSQL:
    """Meets `Database`.

    Args:
        url: of the database.
        timeout: seconds to wait for a connection, and for another client's transaction.

    Raises:
        MissingDependencyError: psycopg is not installed.
    """

    def __init__(self, url: URL, timeout: float) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._timeout = timeout
        seconds = max(2, round(timeout))
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
            connection.execute(text("SET LOCAL synchronous_commit = 'on'"))
            connection.execute(text(f"SET LOCAL lock_timeout = {round(1000 * self._timeout)}"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        else:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))

    def check(self) -> None:
        """Nothing can take a server's tables from under an open transaction."""

    def keep_copy(self, connection: Connection, version: str) -> None:
        """Copies of the tables in the same database, named `..._version_V`."""
        for name in inspect(connection).get_table_names():
            connection.execute(text(f'CREATE TABLE "{name}_version_{version}" AS TABLE "{name}"'))

    def explain(self, error: BaseException | None) -> str:
        """By the error's code; a server that is not there sends none."""
        reason = REASONS.get(getattr(error, "sqlstate", None) or "")
        if reason is None and self.lost(error):
            reason = "cannot be reached: check that the server runs, and the name and password"
        return f"{reason or 'failed: nothing of this call was stored'} ({error})"

    def lost(self, error: BaseException | None) -> bool:
        """The connection broke, or the server went down or is not up yet."""
        state = getattr(error, "sqlstate", None)
        if state is None:
            return type(error).__name__ == "OperationalError"
        return str(state).startswith(CONNECTION) or state in SHUTDOWN
