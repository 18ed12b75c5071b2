"""A store as version 2 made it: that of today without what came later, its tables held to then."""

import sqlite3
from contextlib import closing

LATER = (
    "DROP TABLE abstentions",
    "DELETE FROM head WHERE id = 2",
    "UPDATE meta SET value = '2' WHERE key = 'schema_version'",
)
TABLES = """
CREATE TABLE regions (
    id INTEGER NOT NULL, input_digest TEXT NOT NULL, prediction INTEGER NOT NULL,
    radius REAL NOT NULL, outcome TEXT NOT NULL, claimed_prediction INTEGER NOT NULL,
    claimed_radius REAL NOT NULL, sketch BLOB NOT NULL, chain TEXT NOT NULL, evidence TEXT,
    PRIMARY KEY (id), UNIQUE (input_digest)
);
CREATE TABLE inputs (
    id INTEGER NOT NULL, dtype TEXT NOT NULL, encoding TEXT NOT NULL, x BLOB NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE head (
    id INTEGER NOT NULL, entries INTEGER NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (id)
);
CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
"""


def make_old(path):
    """Take from a file of today what version 2 did not have."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in LATER:
            connection.execute(statement)
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
        found = [row[0] for row in connection.execute(query)]
    expected = sorted(TABLES.strip().removesuffix(";").split(";"), key=lambda sql: sql.split()[2])
    assert list(map(str.split, map(_spaced, found))) == list(map(str.split, map(_spaced, expected)))


def _spaced(sql):
    return sql.replace("(", " ( ").replace(")", " ) ").replace(",", " , ")
