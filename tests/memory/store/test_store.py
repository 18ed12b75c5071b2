import json
import os
import signal
import sqlite3
import subprocess
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest

from ddrs.errors import StoreError
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.memory.statistics import statistics
from ddrs.proof.certificate import ABSTAIN
from memory.contract import conflicting

WRITER = Path(__file__).parents[2] / "support" / "writer.py"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.db"


def open_memory(path, **options):
    return Memory(f"sqlite:///{path}", **options)


def fill(path, count=50):
    """A closed store, and its answers."""
    x, predictions, radii = conflicting(count, seed=6)
    with open_memory(path) as memory:
        return x, memory.resolve_many(x, predictions, radii)


def assert_intact(path, x, answers):
    with open_memory(path) as memory:
        assert memory.audit().ok
        for row, answer in zip(x, answers, strict=True):
            assert memory.recall(row) == (answer if answer.prediction != ABSTAIN else None)


def start_writer(path, seed, count, batch):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(WRITER), f"sqlite:///{path}", str(seed), str(count), str(batch)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def assert_every_printed_answer_is_stored(path, lines):
    rows = {}
    connection = sqlite3.connect(path)
    for x, prediction, radius, outcome in connection.execute(
        "SELECT x, prediction, radius, outcome FROM regions JOIN inputs USING (id)"
    ):
        rows[tuple(np.frombuffer(x))] = (prediction, radius, outcome)
    connection.close()
    for line in lines:
        x, prediction, radius, outcome = json.loads(line)
        if prediction != ABSTAIN:
            assert rows[tuple(x)] == (prediction, float.fromhex(radius), outcome)


def test_the_file_has_the_promised_columns_and_durability(path):
    fill(path)
    with open_memory(path) as memory:
        raw = memory._store._db.engine.raw_connection()
        cursor = raw.cursor()
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
        columns = {row[1]: row[2] for row in cursor.execute("PRAGMA table_info(regions)")}
        types = cursor.execute("SELECT DISTINCT typeof(prediction), typeof(radius) FROM regions")
        assert types.fetchall() == [("integer", "real")]
        raw.close()
    assert columns == {
        "id": "INTEGER",
        "input_digest": "TEXT",
        "prediction": "INTEGER",
        "radius": "REAL",
        "outcome": "TEXT",
        "claimed_prediction": "INTEGER",
        "claimed_radius": "REAL",
        "sketch": "BLOB",
        "chain": "TEXT",
        "evidence": "TEXT",
    }


def test_a_writer_killed_in_the_middle_leaves_every_answer_it_gave(path):
    writer = start_writer(path, seed=0, count=100_000, batch=1)
    lines = [writer.stdout.readline() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    lines += [line for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    assert_every_printed_answer_is_stored(path, lines)
    with open_memory(path) as memory:
        assert memory.audit().ok
        assert memory.resolve([9.0, 9.0], 1, 0.5).outcome == "own"


def test_a_locked_file_can_be_read_and_says_who_holds_it(path):
    x, answers = fill(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with open_memory(path, timeout=0.05) as memory:
        with pytest.raises(StoreError, match="locked by another process"):
            memory.resolve([9.0, 9.0], 1, 0.5)
        assert memory.recall([9.0, 9.0]) is None
        holder.execute("ROLLBACK")
        holder.close()
        assert memory.resolve([9.0, 9.0], 1, 0.5).outcome == "own"
    assert_intact(path, x, answers)


def test_creating_in_a_locked_file_waits_and_then_says_so(path):
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked by another process"):
        open_memory(path, timeout=0.05)
    holder.execute("ROLLBACK")
    holder.close()
    with open_memory(path) as memory:
        assert len(memory) == 0


def test_a_missing_directory(tmp_path):
    with pytest.raises(StoreError, match="directory"):
        open_memory(tmp_path / "missing" / "memory.db")
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nobody_can_write():
    with pytest.raises(StoreError, match="cannot be opened"):
        open_memory("/proc/memory.db")


def test_a_directory_in_place_of_the_file(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        open_memory(tmp_path)


def test_a_newer_version_is_refused_and_untouched(path):
    fill(path)
    edit(path, "UPDATE meta SET value = '4' WHERE key = 'schema_version'")
    edit(path, "PRAGMA journal_mode=DELETE")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"version 4.*upgrade"):
        open_memory(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_untouched(path):
    edit(path, "CREATE TABLE notes (text TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="no ddrs memory"):
        open_memory(path)
    assert path.read_bytes() == before


def test_what_is_not_a_database_is_refused_and_untouched(path):
    path.write_bytes(b"certificates\n" * 500)
    with pytest.raises(StoreError, match="not a SQLite database"):
        open_memory(path)
    assert path.read_bytes() == b"certificates\n" * 500


def test_a_truncated_file_is_an_error_and_not_an_empty_memory(path):
    fill(path, 400)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(StoreError, match="damaged"), open_memory(path) as memory:
        memory.audit()
    with pytest.raises(StoreError, match="damaged"), open_memory(path) as memory:
        memory.resolve([9.0, 9.0], 1, 0.5)


def test_a_file_in_another_journal_mode_is_brought_back(path):
    x, answers = fill(path)
    edit(path, "PRAGMA journal_mode=DELETE")
    with open_memory(path) as memory:
        assert memory.resolve([9.0, 9.0], 1, 0.5).outcome == "own"
        assert (path.parent / "memory.db-wal").exists()
    assert_intact(path, x, answers)


@pytest.mark.parametrize("replacement", [None, "other"])
def test_a_file_deleted_or_replaced_while_open_is_never_written_silently(path, replacement):
    x, answers = fill(path)
    moved = path.with_name("moved.db")
    with open_memory(path) as memory:
        assert memory.resolve(x[0], 1, 1.0) is not None
        for suffix in ("", "-wal", "-shm"):
            os.rename(f"{path}{suffix}", f"{moved}{suffix}")
        if replacement:
            path.write_bytes(moved.read_bytes())
        for attempt in (
            lambda: memory.resolve([9.0, 9.0], 1, 0.5),
            lambda: memory.resolve([9.0, 9.0], 1, 0.5),
            lambda: memory.recall(x[0]),
        ):
            with pytest.raises(StoreError, match="deleted or replaced"):
                attempt()
    assert_intact(moved, x, answers)
    with open_memory(moved) as memory:
        assert memory.recall([9.0, 9.0]) is None


def test_a_full_disk_stores_nothing_of_the_call_and_loses_nothing(path):
    x, answers = fill(path)
    rng = np.random.default_rng(0)
    more = 10 + rng.random((400, 2))
    with open_memory(path) as memory:
        before = len(memory)
        raw = memory._store._db.engine.raw_connection()
        pages = raw.cursor().execute("PRAGMA page_count").fetchone()[0]
        raw.cursor().execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="disk is full"):
            memory.resolve_many(more, [1] * 400, [0.01] * 400)
        assert len(memory) == before
        assert memory.lookup(more[0]) is None
        assert memory.recall(x[0]) == answers[0]
        assert memory.audit().ok
        raw.cursor().execute("PRAGMA max_page_count = 100000")
        raw.close()
        assert len(memory.resolve_many(more, [1] * 400, [0.01] * 400)) == 400
        assert len(memory) == before + 400
    assert_intact(path, x, answers)


def test_an_altered_row_is_not_built_upon(path):
    fill(path)
    edit(path, "UPDATE regions SET radius = -1.0 WHERE id = 3")
    with open_memory(path) as memory, pytest.raises(StoreError, match=r"entry 3 .* damaged"):
        memory.resolve([9.0, 9.0], 1, 0.5)
    edit(path, "DELETE FROM regions WHERE id = 3")
    with open_memory(path) as memory, pytest.raises(StoreError, match=r"entry 3 .* missing"):
        memory.lookup([9.0, 9.0])


def test_a_forked_child_must_open_its_own(path):
    with open_memory(path) as memory:
        memory.resolve([0.0], 1, 1.0)
        child = os.fork()
        if child == 0:
            try:
                memory.resolve([5.0], 1, 1.0)
                os._exit(1)
            except StoreError:
                memory.close()
                with open_memory(path) as own:
                    own.resolve([7.0], 1, 1.0)
                os._exit(0)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert memory.recall([7.0]) == Resolution(1, 1.0, "own")
        assert memory.resolve([6.5], 2, 1.0) == Resolution(1, 0.5, "inherited")
        assert memory.audit().ok


def test_the_path_is_fixed_when_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Memory("sqlite:///memory.db") as memory:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert memory.resolve([0.0], 1, 1.0).outcome == "own"
    assert (tmp_path / "memory.db").exists()


def edit(path, statement):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_schema_that_is_no_text_is_damage(path):
    fill(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_master SET sql = CAST(X'4EF59B' AS TEXT) WHERE tbl_name = 'regions'"
    )
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="damaged"):
        open_memory(path, read_only=True)


def test_radii_whose_sum_is_no_float_have_statistics(path):
    with open_memory(path) as memory:
        for place in (0.0, 1.0, 2.0):
            memory.resolve(np.array([place]), 1, 1.7e308)
        assert statistics(memory).all.mean == inf
