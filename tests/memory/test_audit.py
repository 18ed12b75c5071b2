import sqlite3

import numpy as np
import pytest

from ddrs.memory.audit import Violation
from ddrs.memory.memory import Memory
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


@pytest.fixture
def tries(tmp_path, store):
    """The same with three abstentions, the first two of one input."""
    with Memory(f"sqlite:///{tmp_path}/memory.db") as memory:
        for x, note, alpha, asked in [
            ([50.0, 0.0], "a", 0.01, 0.01),
            ([50.0, 0.0], "b", 0.03, 0.05),
            ([90.0, 0.0], "c", 0.05, 0.05),
        ]:
            memory.resolve(x, -1, 0.0, evidence=note, alpha=alpha, asked=asked)
        assert memory.audit().ok
    return store


def kinds(report):
    assert report.ok == (not report.violations)
    return {(v.kind, v.entries) for v in report.violations}


def test_an_untouched_store_is_ok(store):
    report = store("UPDATE head SET entries = 3 WHERE id = 1")
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
    report = store("UPDATE inputs SET x = ? WHERE id = 3", b"\xff\x01")
    assert kinds(report) == {("damaged", (3,))}
    assert "digest" in str(report.violations[0])


def test_a_deleted_middle_row_is_missing(store):
    report = store("DELETE FROM regions WHERE id = 2")
    assert kinds(report) == {("missing", (3,)), ("head", ())}
    assert report.entries == 2


def test_a_deleted_last_row_is_missed_by_the_head(store):
    report = store("DELETE FROM regions WHERE id = 3")
    assert kinds(report) == {("head", ())}
    assert "2 entries and should have 3" in str(report.violations[0])
    assert report.entries == 2


def test_a_head_that_was_set_back_with_the_rows_is_still_the_end_of_another_chain(store):
    store("UPDATE regions SET claimed_radius = 1.5, radius = 1.5 WHERE id = 3")
    report = store("UPDATE regions SET chain = 'forged' WHERE id = 3")
    assert {("chain", (3,)), ("head", ())} <= kinds(report)


@pytest.mark.parametrize("statement", ["DELETE FROM head", "UPDATE head SET entries = 'three'"])
def test_a_lost_head_is_a_violation(store, statement):
    assert kinds(store(statement)) == {("head", ())}


@pytest.mark.parametrize(
    ("column", "value"),
    [("evidence", "{}"), ("claimed_radius", 8.0), ("input_digest", "0" * 64), ("chain", "")],
)
def test_the_chain_shows_every_altered_column(store, column, value):
    assert ("chain", (2,)) in kinds(store(f"UPDATE regions SET {column} = ? WHERE id = 2", value))


def test_a_row_added_by_hand_is_beyond_the_head(store):
    report = store(
        "INSERT INTO regions SELECT 4, 'd', prediction, radius, outcome, claimed_prediction, "
        "claimed_radius, sketch, chain, evidence FROM regions WHERE id = 3"
    )
    assert {("head", ()), ("chain", (4,)), ("damaged", (4,))} <= kinds(report)


def test_a_deleted_input_is_damage(store):
    assert kinds(store("DELETE FROM inputs WHERE id = 2")) >= {("damaged", (2,))}


def test_another_sketch_would_hide_the_entry_and_is_found(store):
    report = store("UPDATE regions SET sketch = zeroblob(120) WHERE id = 2")
    assert kinds(report) == {("sketch", (2,))}
    assert kinds(store("UPDATE regions SET sketch = 'x' WHERE id = 2")) == {("sketch", (2,))}


def test_what_memory_was_made_for_is_part_of_the_chain(store):
    report = store("INSERT INTO meta VALUES ('model_digest', 'another')")
    assert kinds(report) == {("chain", (1,))}


def test_evidence_is_judged_by_the_caller(tmp_path):
    with Memory("memory://") as memory:
        memory.resolve([0.0], 1, 1.0, evidence="good")
        memory.resolve([9.0], 1, 1.0, evidence="bad")
        report = memory.audit(
            lambda entry: [f"it is {entry.resolution.evidence}"] * (entry.id == 2)
        )
    assert kinds(report) == {("evidence", (2,))}
    assert str(report.violations[0]) == "evidence: entry 2: it is bad"


@pytest.mark.parametrize(
    ("column", "value"),
    [
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
    assert kinds(report) == {("damaged", (3,)), ("chain", (3,))}
    assert report.entries == 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", b"short"),
        ("x", "text"),
        ("x", 16),
        ("dtype", "<f9"),
        ("dtype", "<i4"),
        ("dtype", b"\x00"),
        ("encoding", "raw"),
        ("encoding", "jpeg"),
    ],
)
def test_an_input_that_cannot_be_read_is_a_violation_and_no_crash(store, column, value):
    report = store(f"UPDATE inputs SET {column} = ? WHERE id = 3", value)
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
    assert kinds(report) == {("damaged", (i,)) for i in (1, 2, 3)} | {("chain", (1,))}


def test_every_overlap_of_a_large_store_is_found(tmp_path):
    path = tmp_path / "memory.db"
    x, predictions, radii = conflicting(400, seed=8)
    with Memory(f"sqlite:///{path}", "l1") as memory:
        memory.resolve_many(x, predictions, radii)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE regions SET radius = radius + 0.0625 WHERE id % 20 = 0")
    rows = connection.execute(
        "SELECT id, x, prediction, radius FROM regions JOIN inputs USING (id)"
    ).fetchall()
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


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM abstentions WHERE id = 3", {"head"}),
        ("DELETE FROM abstentions WHERE id = 1", {"missing", "head"}),
        ("DELETE FROM abstentions", {"head"}),
        ("UPDATE head SET entries = 2 WHERE id = 2", {"head"}),
        ("UPDATE head SET chain = 'x' WHERE id = 2", {"head"}),
        ("UPDATE abstentions SET evidence = 'x' WHERE id = 2", {"chain"}),
        ("UPDATE abstentions SET input_digest = 'x' WHERE id = 3", {"chain"}),
        ("UPDATE abstentions SET spent = 0.04 WHERE id = 2", {"chain"}),
        ("UPDATE abstentions SET alpha = 0.045 WHERE id = 2", {"chain", "alpha"}),
        ("UPDATE abstentions SET spent = 0.005 WHERE id = 2", {"chain", "alpha"}),
        ("UPDATE abstentions SET alpha = 2.0 WHERE id = 3", {"chain", "damaged"}),
        ("UPDATE abstentions SET spent = 'much' WHERE id = 3", {"chain", "damaged"}),
        ("UPDATE abstentions SET evidence = x'00' WHERE id = 3", {"chain", "damaged"}),
        ("UPDATE abstentions SET chain = 'x' WHERE id = 3", {"chain", "head"}),
    ],
)
def test_abstentions_changed_by_hand_are_found(tries, statement, expected):
    report = tries(statement)
    assert {violation.kind for violation in report.violations} == expected
    assert all("abstention" in str(violation) for violation in report.violations)


def test_what_is_wrong_with_an_abstention_is_asked_too(tmp_path, tries):
    with Memory(f"sqlite:///{tmp_path}/memory.db") as memory:
        report = memory.audit(lambda one: ["bad"] if getattr(one, "evidence", "") == "b" else [])
    assert [str(violation) for violation in report.violations] == ["abstention 2: bad"]
