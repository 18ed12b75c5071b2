"""What stands in a database compared with the tables that this code makes.

A trigger or a rule can change what is stored, a view or a generated column what is read, and both
can run for ever. So a memory is used only where its tables are ours to the letter.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

__all__ = ["foreign_to_postgresql", "foreign_to_sqlite"]

LONGEST_NAME = 60  # characters of a name that others chose, in a message

# SQLite's own tokens, near enough: names in quotes are one, white space between them is none.
_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|\w+|\S', re.ASCII)

_SQLITE_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master"

# What there is of each of our tables beside itself, its columns and its keys.
_POSTGRESQL_SCHEMA = text("""
WITH ours AS (
    SELECT c.* FROM unnest(CAST(:names AS text[])) AS given (name)
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(given.name)
), found AS (
    SELECT relname, 'is no ordinary table' AS what, NULL::name AS name
        FROM ours WHERE relkind <> 'r' OR relpersistence <> 'p'
    UNION ALL SELECT relname, 'has row-level security', NULL
        FROM ours WHERE relrowsecurity
    UNION ALL SELECT relname, 'has the trigger', tgname
        FROM pg_catalog.pg_trigger JOIN ours ON tgrelid = ours.oid WHERE NOT tgisinternal
    UNION ALL SELECT relname, 'has the rule', rulename
        FROM pg_catalog.pg_rewrite JOIN ours ON ev_class = ours.oid
    UNION ALL SELECT relname, 'has the policy', polname
        FROM pg_catalog.pg_policy JOIN ours ON polrelid = ours.oid
    UNION ALL SELECT relname, 'has the constraint', conname
        FROM pg_catalog.pg_constraint JOIN ours ON conrelid = ours.oid
        WHERE contype NOT IN ('p', 'u', 'n')
    UNION ALL SELECT relname, 'shares its rows with another table', NULL
        FROM pg_catalog.pg_inherits JOIN ours ON ours.oid IN (inhparent, inhrelid)
    UNION ALL SELECT relname, 'has a default or generated value in column', attname
        FROM pg_catalog.pg_attribute JOIN ours ON attrelid = ours.oid
        WHERE attnum > 0 AND (atthasdef OR attidentity <> '')
    UNION ALL SELECT ours.relname, 'has an index of expressions or of some rows,', i.relname
        FROM pg_catalog.pg_index JOIN ours ON indrelid = ours.oid
        JOIN pg_catalog.pg_class AS i ON i.oid = indexrelid
        WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
)
SELECT CAST(relname AS text), what, CAST(name AS text) FROM found
""")
_POSTGRESQL_COLUMNS = text("""
SELECT CAST(attname AS text), pg_catalog.format_type(atttypid, atttypmod), NOT attnotnull
    FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(:name) AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
""")


def foreign_to_sqlite(
    connection: Connection, tables: Sequence[Table], *, alone: bool
) -> str | None:
    """What is not as this code makes `tables`, in words; None if everything is.

    Args:
        connection: to the database.
        tables: that have to be there.
        alone: nothing else may be there.
    """
    names = {table.name for table in tables}
    missing = set(_made_by_sqlite(tuple(tables)))
    others = []
    for kind, name, table, sql in connection.exec_driver_sql(_SQLITE_SCHEMA):
        entry = (kind, name, table, _tokens(sql))
        if entry in missing:
            missing.remove(entry)
        elif name in names:
            return f"its {_shown(kind)} {name} is another than ddrs makes"
        elif alone:
            others.append(f"it has the {_shown(kind)} {_shown(name)}")
    gone = [f"it has no {kind} {name}" for kind, name, *_ in missing]
    return min(others + gone, default=None)


def foreign_to_postgresql(connection: Connection, tables: Sequence[Table]) -> str | None:
    """What is not as this code makes `tables`, in words; None if everything is.

    Other tables may stand beside them, as a server's databases are shared.
    """
    names = [table.name for table in tables]
    for table, what, name in connection.execute(_POSTGRESQL_SCHEMA, {"names": names}):
        return f"its table {table} {what}" + ("" if name is None else f" {_shown(name)}")
    for made in tables:
        found = connection.execute(_POSTGRESQL_COLUMNS, {"name": made.name}).all()
        if [tuple(row) for row in found] != _made_by_postgresql(made, connection.dialect):
            return f"its table {made.name} has other columns than ddrs makes"
    return None


@cache
def _made_by_sqlite(tables: tuple[Table, ...]) -> frozenset[tuple[Any, ...]]:
    """The rows of its schema once it has made these tables."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in tables:
            connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
        rows = connection.execute(_SQLITE_SCHEMA).fetchall()
    return frozenset((kind, name, table, _tokens(sql)) for kind, name, table, sql in rows)


def _made_by_postgresql(table: Table, dialect: Dialect) -> list[tuple[str, str, bool]]:
    """Name, type and whether it may be NULL of each column."""
    return [(c.name, c.type.compile(dialect).lower(), bool(c.nullable)) for c in table.columns]


def _tokens(sql: object) -> object:
    """A statement without regard to its white space."""
    return tuple(_TOKEN.findall(sql)) if isinstance(sql, str) else sql


def _shown(name: object) -> str:
    """A name that others chose."""
    plain = str(name)[:LONGEST_NAME]
    return plain if re.fullmatch(r"\w+", plain, re.ASCII) else ascii(plain)
