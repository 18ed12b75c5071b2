"""Files altered at random, as by damage or by a forger, and commands called on them in process.

Every alteration takes a path and a generator, and returns what was altered, for messages.
"""

import contextlib
import io
import json
import random
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.cli.commands import main

LONGEST = 60  # seconds for a command, which takes less than one
VALUES: list[Any] = [
    None, True, False, "", "x", "l7", "nan", "\x1b[31m", "[bold]", "\n", [], {}, [1, 2], [[]],
    {"a": 1}, 0, 1, -1, -5, 2, 7, 6, 10**6, 10**11, 2**62, 2**63, 10**30, 10**400, 0.5, -0.5, 1.5,
    1e308, 1e-320, float("nan"), float("inf"), -float("inf"), "a" * 10_000, b"\xff\x00", 1 + 2**31,
]  # fmt: skip


def alter_json(path: Path, rng: random.Random) -> object:
    """Change one value, key or piece of text."""
    text = path.read_text()
    kind = rng.randrange(10)
    if kind == 0:
        where = rng.randrange(len(text))
        junk = rng.choice(["", "}", "9" * 400, "[" * 100_000, "\x00", ",", '"', "NaN", "-", "e999"])
        path.write_text(text[:where] + junk + text[where + rng.randrange(3) :])
        return junk[:20]
    if kind == 1:
        whole = rng.choice([b"", b"\xff\xfe", b"[" * 200_000, b"null", b"3", b"[]", b"{}", b'"x"'])
        path.write_bytes(whole)
        return whole[:20]
    found = json.loads(text)
    holder: Any = found
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.7:
            holder = holder[key]
        else:
            break
    value = rng.choice([value for value in VALUES if not isinstance(value, bytes)])
    if kind == 2:
        del holder[key]
    elif kind == 3 and isinstance(holder, dict):
        holder[rng.choice(["kind", "further", "x"])] = value
    else:
        holder[key] = value
    path.write_text(json.dumps(found))
    return key, value


def alter_table(path: Path, rng: random.Random) -> object:
    """Change cells, rows or columns."""
    table = pq.read_table(path)
    kind, name = rng.randrange(8), rng.choice(table.column_names)
    rows = table.to_pylist()
    value = rng.choice(VALUES)
    if kind == 0:
        path.write_bytes(path.read_bytes()[: rng.randrange(2000)])
        return "cut"
    if kind == 1:
        pq.write_table(table.drop_columns([name]), path)
        return "dropped", name
    if kind == 2:
        pq.write_table(table.append_column(name, table[name]), path)
        return "doubled", name
    if kind == 3:
        rows = rng.choice([[], rows[:-1], rows * 3, rows[::-1], [*rows, rows[0]]])
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
        return "rows", len(rows)
    every = kind == 4
    for row in rows if every else [rng.choice(rows)]:
        row[name] = value
    try:
        made = pa.Table.from_pylist(rows, table.schema if kind == 5 else None)
        pq.write_table(made.replace_schema_metadata(_metadata(path)), path)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # no file can hold that
        text = pa.array([str(value)] * len(rows))
        pq.write_table(table.set_column(table.column_names.index(name), name, text), path)
    return name, value


def alter_bytes(path: Path, rng: random.Random) -> object:
    """Cut a file, or write over a few bytes of it."""
    content = bytearray(path.read_bytes())
    where = rng.randrange(len(content))
    if rng.random() < 0.2:
        path.write_bytes(content[:where])
        return "cut", where
    junk = rng.randbytes(rng.choice([1, 4, 100]))
    content[where : where + len(junk)] = junk
    path.write_bytes(content)
    return where, len(junk)


def alter_store(path: Path, rng: random.Random) -> object:
    """Change bytes, cells, rows or tables of a memory in a file."""
    if rng.random() < 0.3:
        return alter_bytes(path, rng)
    with contextlib.closing(sqlite3.connect(path)) as store:
        tables = [
            name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        table = rng.choice([name for name in tables if not name.startswith("sqlite_")])
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
        column, value = rng.choice(columns), rng.choice(VALUES)
        if isinstance(value, dict | list) or (isinstance(value, int) and abs(value) >= 2**63):
            value = str(value)
        if column == "evidence" and rng.random() < 0.8:
            value = altered_evidence(store, rng)
        some = f"(SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {rng.randrange(3)})"
        statement = rng.choice(
            [f"UPDATE {table} SET {column} = ?1 WHERE rowid = {some}"] * 6
            + [
                f"UPDATE {table} SET {column} = ?1",
                f"DELETE FROM {table} WHERE rowid = {some} OR ?1 = 'never'",
                f"DELETE FROM {table} WHERE ?1 IS NOT 'never'",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} DROP COLUMN {column}",
                f"CREATE TABLE more AS SELECT * FROM {table}",
            ]
        )
        with contextlib.suppress(sqlite3.Error):  # what the tables do not allow changes nothing
            store.execute(statement, [value] * ("?1" in statement))
            store.commit()
    return statement, value


def altered_evidence(store: sqlite3.Connection, rng: random.Random) -> str:
    """The certificate of an entry with one other value."""
    (text,) = store.execute(
        "SELECT evidence FROM regions WHERE evidence IS NOT NULL"
    ).fetchone() or ("{}",)
    evidence = json.loads(text)
    value = rng.choice([value for value in VALUES if not isinstance(value, bytes)])
    evidence[rng.choice([*evidence, "x"])] = value
    return json.dumps(evidence)


def alter_export(path: Path, rng: random.Random) -> object:
    """Change the table of an export, or what it says of itself."""
    if rng.random() < 0.2:
        return alter_bytes(path, rng)
    if rng.random() < 0.7:
        return alter_table(path, rng)
    table, metadata = pq.read_table(path), _metadata(path)
    about = path.with_suffix(".json")
    about.write_bytes(metadata[b"ddrs_memory"])
    what = alter_json(about, rng)
    metadata[b"ddrs_memory"] = about.read_bytes()
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return what


def _metadata(path: Path) -> dict[bytes, bytes]:
    """What a parquet file says of itself, beside its columns."""
    found = pq.read_metadata(path).metadata or {}
    return {key: value for key, value in found.items() if key != b"ARROW:schema"}


def alter_log(path: Path, rng: random.Random) -> object:
    """Change bytes, cells or lines of a log."""
    if rng.random() < 0.2:
        return alter_bytes(path, rng)
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    cells = lines[number].split("\t")
    column, value = rng.randrange(len(cells)), str(rng.choice(VALUES))
    kind = rng.randrange(6)
    if kind == 0:
        del cells[column]
    elif kind == 1:
        cells.insert(column, value)
    else:
        cells[column] = value
    lines[number] = "\t".join(cells)
    if kind == 2:
        lines = lines[:number] + lines[number + 1 :]
    path.write_text(rng.choice(["\n", "\n", "\n", "\r\n", "\t"]).join(lines) + "\n")
    return kind, number, column, value[:40]


class Hung(BaseException):
    """A command does not end."""


def _hung(*_: object) -> None:
    raise Hung


def called(*words: str) -> tuple[object, str, str]:
    """Exit code, or another exception, and what the command wrote; it may take a minute."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        signal.signal(signal.SIGALRM, _hung)
        signal.alarm(LONGEST)
        try:
            main(list(words))
        except SystemExit as exit_:
            code = exit_.code
        except BaseException as error:
            code = error
        finally:
            signal.alarm(0)
    return code, out.getvalue(), err.getvalue()
