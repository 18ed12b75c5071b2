"""A store as version 1 made it: frozen, and written without any code of the library's stores."""

import hashlib
import json
import sqlite3
from contextlib import closing

import numpy as np

from ddrs.memory.memory import Memory

TABLES = """
CREATE TABLE regions (
    id INTEGER NOT NULL, input_digest TEXT NOT NULL, x BLOB NOT NULL, dtype TEXT NOT NULL,
    prediction INTEGER NOT NULL, radius REAL NOT NULL, outcome TEXT NOT NULL,
    claimed_prediction INTEGER NOT NULL, claimed_radius REAL NOT NULL, evidence TEXT,
    PRIMARY KEY (id), UNIQUE (input_digest)
);
CREATE TABLE meta ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
"""


def write(path, norm, x, predictions, radii, *, bound=True):
    """A version-1 file with the answers to these claims; each says its place as its evidence.

    Returns:
        The answers.
    """
    evidence = [f'{{"place": {i}}}' if i % 3 else None for i in range(len(x))]
    with Memory("memory://", norm) as memory:
        answers = memory.resolve_many(x, predictions, radii, evidence=evidence)
        rows = [row(entry) for entry in memory.entries()]
    facts = {"schema_version": "1", "norm": norm}
    if bound:
        facts |= {"model_digest": "m", "noise": "gaussian"}
    if rows:
        facts["shape"] = json.dumps(x.shape[1:])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(TABLES)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        connection.executemany(f"INSERT INTO regions VALUES ({', '.join('?' * 10)})", rows)
    return answers


def row(entry):
    x, answer = entry.point.x, entry.resolution
    values = x.astype("<f8").reshape(-1) + 0.0
    digest = hashlib.sha256(str(x.shape).encode() + values.tobytes()).hexdigest()
    return (
        *(entry.id, digest, x.tobytes(), x.dtype.str, answer.prediction, answer.radius),
        *(answer.outcome, entry.claimed_prediction, entry.claimed_radius, answer.evidence),
    )


def dump(path):
    """Everything in a file, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def images(count, seed, dtype=np.float32):
    """Small images with conflicting claims, half of them not of the form k/255."""
    rng = np.random.default_rng(seed)
    x = (rng.integers(0, 256, (count, 1, 4, 4)) / 255).astype(dtype)
    x[::2] += (rng.random((len(x[::2]), 1, 4, 4)) / 8).astype(dtype)
    return x, rng.integers(-1, 4, count).tolist(), (rng.random(count) * 2).tolist()
