import sqlite3

import numpy as np
import pytest

from ddrs.memory import Memory, Violation
from memory.contract import conflicting


@pytest.fixture
def store(tmp_path):
    """A store with 3 hand-made entries, and a function that alters it and audits."""
    path = tmp_path / "memory.db"
    with Memory(f"sqlite:///{path}") as memory:
        memory.resolve([0.0, 0.0], 1, 2.0)
        memory.resolve([5.0, 0.0], 2, 9.0)
        memory.resolve([1.0, 0.0], 3, 9.0)

    def alter(statement, *values):
        connection = sqlite3.connect(path, isolation_level=None)
        changed = connection.execute(statement, values).rowcount
        connection.close()
        assert changed > 0
        with Memory(f"sqlite:///{path}") as memory:
            return memory.audit()

    return alter


def kinds(report):
    assert report.ok == (not report.violations)
    return {(v.kind, v.entries) for v in report.violations}


def test_an_untouched_store_is_ok(store):
    report = store("UPDATE regions SET evidence = 'noted'")
    assert report.ok
    assert report.entries == 3
    assert report.violations == ()


def test_an_enlarged_radius_is_an_overlap_and_fails_its_replay(store):
    report = store("UPDATE regions SET radius = 3.5 WHERE id = 2")
    assert ("overlap", (1, 2)) in kinds(report)
    assert ("replay", (2,)) in kinds(report)
    overlap = next(v for v in report.violations if v.entries == (1, 2))
    assert str(overlap) == "overlap: entry 1 and 2: balls of classes 1 and 2 overlap by 0.5"


def test_a_radius_one_step_too_large_is_found(store):
    report = store("UPDATE regions SET radius = ? WHERE id = 2", np.nextafter(3.0, 4.0))
    assert {("overlap", (1, 2)), ("replay", (2,))} <= kinds(report)


def test_a_smaller_radius_fails_its_replay(store):
    assert ("replay", (1,)) in kinds(store("UPDATE regions SET radius = 1.5 WHERE id = 1"))


@pytest.mark.parametrize(
    ("column", "value", "entry"),
    [
        ("prediction", 4, 3),
        ("outcome", "own", 2),
        ("claimed_radius", 1.0, 2),
        ("claimed_prediction", 1, 2),
    ],
)
def test_an_altered_decision_or_claim_fails_its_replay(store, column, value, entry):
    report = store(f"UPDATE regions SET {column} = ? WHERE id = ?", value, entry)
    assert ("replay", (entry,)) in kinds(report)
    assert "class" in str(report.violations[-1])


def test_an_altered_input_no_longer_has_its_digest(store):
    report = store("UPDATE regions SET x = ? WHERE id = 3", np.array([1.0, 1e-9]).tobytes())
    assert kinds(report) == {("damaged", (3,))}
    assert "digest" in str(report.violations[0])


def test_a_deleted_middle_row_is_missing(store):
    report = store("DELETE FROM regions WHERE id = 2")
    assert kinds(report) == {("missing", (3,))}
    assert report.entries == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", b"short"),
        ("x", "text"),
        ("x", 16),
        ("x", np.array([np.nan, 0.0]).tobytes()),
        ("dtype", "<f9"),
        ("dtype", "<f4"),
        ("dtype", b"\x00"),
        ("prediction", -1),
        ("prediction", "one"),
        ("radius", -1.0),
        ("radius", float("inf")),
        ("radius", "wide"),
        ("outcome", "certain"),
        ("claimed_prediction", -2),
        ("claimed_radius", -0.5),
        ("input_digest", "0" * 64),
    ],
)
def test_a_row_that_cannot_be_read_is_a_violation_and_no_crash(store, column, value):
    report = store(f"UPDATE regions SET {column} = ? WHERE id = 3", value)
    assert kinds(report) == {("damaged", (3,))}
    assert report.entries == 3


@pytest.mark.parametrize("value", ["nonsense", "[2, null]", "7"])
def test_an_unreadable_shape_is_a_violation(store, value):
    report = store("UPDATE meta SET value = ? WHERE key = 'shape'", value)
    assert kinds(report) == {("meta", ())}
    assert "shape" in str(report.violations[0])
    assert report.entries == 3


def test_a_lost_shape_is_a_violation(store):
    assert kinds(store("DELETE FROM meta WHERE key = 'shape'")) == {("meta", ())}


def test_another_shape_damages_every_row(store):
    report = store("UPDATE meta SET value = '[3]' WHERE key = 'shape'")
    assert kinds(report) == {("damaged", (i,)) for i in (1, 2, 3)}


def test_every_overlap_of_a_large_store_is_found(tmp_path):
    path = tmp_path / "memory.db"
    x, predictions, radii = conflicting(400, seed=8)
    with Memory(f"sqlite:///{path}", "l1") as memory:
        memory.resolve_many(x, predictions, radii)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE regions SET radius = radius + 0.0625 WHERE id % 20 = 0")
    rows = connection.execute("SELECT id, x, prediction, radius FROM regions").fetchall()
    connection.close()
    balls = [(i, np.frombuffer(x), c, r) for i, x, c, r in rows]
    expected = {  # in float64: the lattice makes every l1 distance exact
        (i, j)
        for i, a, c, r in balls
        for j, b, k, s in balls
        if i < j and c != k and np.abs(a - b).sum() - r - s < -1e-12
    }
    assert len(expected) > 5
    with Memory(f"sqlite:///{path}", "l1") as memory:
        found = {v.entries for v in memory.audit().violations if v.kind == "overlap"}
    assert found == expected


def test_violations_read_as_sentences():
    assert str(Violation("meta", (), "the shape is lost")) == "the shape is lost"
    assert str(Violation("missing", (7,), "gone")) == "missing: entry 7: gone"
