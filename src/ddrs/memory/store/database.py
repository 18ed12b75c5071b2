"""What a kind of database does in its own way: `sqlite.py` and `postgresql.py` meet `Database`."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

__all__ = ["Database"]


class Database(Protocol):
    """One database that can hold a memory.

    Attributes:
        name: what messages call it; no password in it.
        engine: connections whose transactions begin only through `begin`.
    """

    name: str
    engine: Engine

    def exists(self) -> bool:
        """Whether there is something to open without making it."""

    def configure(self) -> None:
        """Make the commits of these connections durable. Called once it is known to be ours."""

    def begin(self, connection: Connection, *, write: bool) -> None:
        """Begin a transaction; a writer holds the only write lock from here on."""

    def check(self) -> None:
        """Before a commit: see that what is written to is still what was opened.

        Raises:
            StoreError: it is not.
        """

    def foreign(
        self, connection: Connection, tables: Sequence[Table], *, alone: bool
    ) -> str | None:
        """What is not as this code makes `tables`, in words; None if everything is.

        Args:
            connection: in a transaction.
            tables: that have to be there.
            alone: nothing else may be there, where a database holds nothing but a memory.
        """

    def keep_copy(self, connection: Connection, version: str) -> None:
        """Keep a copy of an older version's tables, inside the transaction that upgrades them.

        Raises:
            StoreError: it cannot be kept.
        """

    def explain(self, error: DBAPIError) -> str:
        """What a driver's error means and what to do about it."""

    def lost(self, error: DBAPIError) -> bool:
        """Whether the connection was lost, so that nobody knows whether a commit was reached."""
