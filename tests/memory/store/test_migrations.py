import itertools
import os
import re
import signal
import sqlite3
from contextlib import closing, contextmanager

import numpy as np
import pytest
from sqlalchemy import Engine, event

from ddrs.errors import StoreError, StoreMismatchError
from ddrs.memory.memory import Memory
from ddrs.memory.store.migrations import MIGRATIONS
from ddrs.memory.store.tables import SCHEMA_VERSION
from support import version_1, version_2
from support.nursery import Nursery
from support.version_1 import dump, images

STATEMENTS = 60  # more than an upgrade of a small store executes


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "memory.db")


def url(path):
    return f"sqlite:///{path}"


def old(path, norm="l2", count=60, **options):
    """A version-1 file, its inputs, its answers and its content."""
    x, predictions, radii = images(count, seed=3)
    answers = version_1.write(path, norm, x, predictions, radii, **options)
    return x, answers, dump(path)


def edit(path, statement, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement, values).rowcount > 0


def version(path):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT value FROM meta WHERE key = 'schema_version'"
        return connection.execute(query).fetchone()[0]


def copies(path):
    folder, name = os.path.split(path)
    return sorted(f.removeprefix(name) for f in os.listdir(folder) if ".version-" in f)


def assert_upgraded(path, x, answers):
    with Memory(url(path), None) as memory:
        assert memory.audit().ok
        stored = [a for a in answers if a.prediction >= 0]
        assert [entry.resolution for entry in memory.entries()] == stored
        for row, answer in zip(x, answers, strict=True):
            assert memory.recall(row) == (answer if answer.prediction >= 0 else None)
    assert version(path) == str(SCHEMA_VERSION)


@contextmanager
def at_statement(number, action):
    """Do something before this statement, and all later ones, of every engine."""
    numbers = itertools.count()

    def act(*arguments):
        if next(numbers) >= number:
            action()

    event.listen(Engine, "before_cursor_execute", act)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", act)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    raise KeyboardInterrupt


def open_and_die(path, number):
    """In a child: open a store and be killed before this statement."""
    with at_statement(number, die):
        Memory(url(path)).close()


def open_and_die_in_the_copy(path, function):
    setattr(os, function, lambda *arguments: die())
    Memory(url(path)).close()


def open_and_add(path, number):
    with Memory(url(path)) as memory:
        memory.resolve(np.full((1, 4, 4), 5.0 + number, np.float32), number, 0.5)


def test_there_is_a_way_from_every_earlier_version():
    assert set(MIGRATIONS) == {str(number) for number in range(1, SCHEMA_VERSION)}


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_everything_is_as_it_was(path, norm):
    x, predictions, radii = images(150, seed=3)
    radii = [radius * (3 if norm == "l1" else 1) for radius in radii]
    answers = version_1.write(path, norm, x, predictions, radii)
    assert {answer.outcome for answer in answers} == {"own", "trimmed", "inherited", "abstained"}
    with Memory("memory://", norm) as same, Memory(url(path), norm) as memory:
        notes = [f'{{"place": {i}}}' if i % 3 else None for i in range(len(x))]
        assert same.resolve_many(x, predictions, radii, evidence=notes) == answers
        for ours, theirs in zip(memory.entries(), same.entries(), strict=True):
            assert (ours.id, ours.resolution) == (theirs.id, theirs.resolution)
            assert ours.claimed_prediction == theirs.claimed_prediction
            assert ours.claimed_radius == theirs.claimed_radius
            assert ours.point.digest == theirs.point.digest
            assert ours.point.x.dtype == np.float32
            assert np.array_equal(ours.point.x, theirs.point.x)
        for row in x[:20]:
            one, other = memory.lookup(row + 0.01), same.lookup(row + 0.01)
            assert (one is None) == (other is None)
            assert one is None or (one.prediction, one.radius) == (other.prediction, other.radius)
        more = images(50, seed=4)
        assert memory.resolve_many(*more) == same.resolve_many(*more)
        memory.bind("m", "gaussian")
        with pytest.raises(StoreMismatchError, match="another model"):
            memory.bind("other", "gaussian")
        assert memory.audit().ok


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8"])
def test_inputs_of_any_dtype_come_along(path, dtype):
    x = np.array([[3, 7], [0, 100], [255, 1]], dtype)
    answers = version_1.write(path, "l2", x, [1, 2, 3], [0.5, 0.25, 1.0])
    assert_upgraded(path, x, answers)
    with Memory(url(path)) as memory:
        assert {entry.point.x.dtype for entry in memory.entries()} == {np.dtype(dtype)}


@pytest.mark.parametrize("bound", [True, False])
def test_an_empty_memory_is_upgraded_too(path, bound):
    old(path, count=0, bound=bound)
    with Memory(url(path)) as memory:
        assert len(memory) == 0
        assert ("model_digest" in memory.about()) == bound
        memory.bind("m", "gaussian")
        assert memory.resolve([[1.0]], 1, 1.0).outcome == "own"
        assert memory.audit().ok


def test_a_faithful_copy_of_the_old_file_is_kept(path):
    x, answers, before = old(path)
    Memory(url(path)).close()
    assert copies(path) == [".version-1"]
    assert dump(f"{path}.version-1") == before
    assert_upgraded(path, x, answers)
    os.rename(f"{path}.version-1", f"{path}.again")
    assert_upgraded(f"{path}.again", x, answers)  # and it can be opened in its turn


def test_an_upgrade_happens_once_and_overwrites_nothing(path):
    x, answers, before = old(path)
    with open(f"{path}.version-1", "w") as file:
        file.write("mine")
    for _ in range(3):
        assert_upgraded(path, x, answers)
    assert copies(path) == [".version-1", ".version-1.2"]
    assert dump(f"{path}.version-1.2") == before


@pytest.mark.parametrize("stop", [interrupt, die])
def test_stopped_at_any_statement_it_is_still_version_1_and_is_upgraded_next_time(
    path, nursery, stop
):
    x, answers, before = old(path)
    for number in range(0, STATEMENTS, 3 if stop is die else 1):
        if stop is die:
            code = nursery.wait(nursery.fork(open_and_die, path, number))
            assert code == -signal.SIGKILL or (code == 0 and number > 15)
        else:
            with at_statement(number, stop), pytest.raises(KeyboardInterrupt):
                Memory(url(path))
        if version(path) == str(SCHEMA_VERSION):  # stopped after the upgrade
            break
        assert dump(path) == before
    assert 15 < number < STATEMENTS - 3
    assert copies(path) == [".version-1"]  # one is enough for all attempts
    assert dump(f"{path}.version-1") == before
    assert_upgraded(path, x, answers)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_killed_while_it_copies_it_is_still_version_1(path, nursery, function):
    x, answers, before = old(path)
    assert nursery.wait(nursery.fork(open_and_die_in_the_copy, path, function)) == -signal.SIGKILL
    assert dump(path) == before
    (left,) = copies(path)
    assert re.fullmatch(r"\.version-1\.[0-9a-f]{8}\.partial", left)
    assert_upgraded(path, x, answers)
    assert copies(path) == [".version-1"]
    assert dump(f"{path}.version-1") == before


def test_processes_that_open_it_at_once_upgrade_it_once(path, nursery):
    _, answers, before = old(path, count=200)
    children = [nursery.fork(open_and_add, path, number) for number in range(4)]
    assert [nursery.wait(child) for child in children] == [0] * 4
    assert copies(path) == [".version-1"]
    assert dump(f"{path}.version-1") == before
    with Memory(url(path)) as memory:
        kept = [answer for answer in answers if answer.prediction >= 0]
        assert len(memory) == len(kept) + 4
        assert [e.resolution for e in memory.entries()][: len(kept)] == kept
        assert memory.audit().ok


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE regions SET x = x'0102' WHERE id = 7",
        "UPDATE regions SET x = 'text' WHERE id = 7",
        "UPDATE regions SET x = zeroblob(64) WHERE id = 7",
        "UPDATE regions SET dtype = '<f9' WHERE id = 7",
        "UPDATE regions SET input_digest = '0' WHERE id = 7",
        "UPDATE regions SET prediction = -1 WHERE id = 7",
        "UPDATE regions SET radius = -0.5 WHERE id = 7",
        "UPDATE regions SET radius = 'wide' WHERE id = 7",
        "UPDATE regions SET outcome = 'certain' WHERE id = 7",
        "UPDATE regions SET claimed_prediction = -2 WHERE id = 7",
        "UPDATE regions SET claimed_radius = 9e999 WHERE id = 7",
        "DELETE FROM regions WHERE id = 6",
    ],
)
def test_a_damaged_row_is_one_error_and_the_file_is_unchanged(path, damage):
    old(path, count=20)
    edit(path, damage)
    before = dump(path)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"entry 7 of the memory is damaged .*copy"):
            Memory(url(path))
    assert dump(path) == before
    assert copies(path) == [".version-1"]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM meta WHERE key = 'norm'",
        "UPDATE meta SET value = 'linf' WHERE key = 'norm'",
        "UPDATE meta SET value = '[4, -4]' WHERE key = 'shape'",
        "UPDATE meta SET value = '{}]' WHERE key = 'shape'",
        "DELETE FROM meta WHERE key = 'shape'",
    ],
)
def test_damaged_facts_are_one_error_and_the_file_is_unchanged(path, damage):
    old(path, count=20)
    edit(path, damage)
    before = dump(path)
    with pytest.raises(StoreError, match=r"norm|shape"):
        Memory(url(path))
    assert dump(path) == before


def test_read_only_does_not_upgrade(path):
    x, answers, before = old(path)
    with pytest.raises(StoreError, match="open it for writing once to upgrade it"):
        Memory(url(path), read_only=True)
    assert dump(path) == before
    assert copies(path) == []
    assert_upgraded(path, x, answers)
    with Memory(url(path), read_only=True) as memory:
        assert memory.recall(x[-1]) == (answers[-1] if answers[-1].prediction >= 0 else None)


def of_version_2(path):
    x, predictions, radii = images(60, seed=3)
    with Memory(url(path)) as memory:
        memory.bind("m", "gaussian")
        answers = memory.resolve_many(x, predictions, radii)
        head = memory._store.run(lambda t: t.head())
    version_2.make_old(path)
    return x, answers, head


def test_a_memory_without_abstentions_is_upgraded(path):
    x, answers, head = of_version_2(path)
    before = dump(path)
    with Memory(url(path)) as memory:
        assert memory._store.run(lambda t: t.head()) == head
        assert list(memory.abstentions()) == []
        spare = memory.resolve(np.full((1, 4, 4), 9.0), -1, 0.0, evidence="a", alpha=0.05)
        assert memory.resolve(np.full((1, 4, 4), 9.0), 2, 1.0, evidence="b", alpha=0.05) == spare
    assert copies(path) == [".version-2"]
    assert dump(f"{path}.version-2") == before
    assert_upgraded(path, x, answers)


def test_a_memory_without_abstentions_is_read_as_it_is(path):
    x, answers, _ = of_version_2(path)
    before = dump(path)
    with Memory(url(path), read_only=True) as memory:
        memory.bind("m", "gaussian")
        stored = [a for a in answers if a.prediction >= 0]
        assert [entry.resolution for entry in memory.entries()] == stored
        assert list(memory.abstentions()) == []
        assert memory.tried(["d"]) == {}
        again = memory.resolve(x[0] + 9, 1, 1.0, evidence="a", alpha=0.05)
        assert again.outcome == "unrecorded"
        assert memory.audit().ok
        Memory(url(path)).close()  # somebody upgrades it meanwhile
        assert len(memory) == len(stored)
        assert memory.resolve(x[0] + 9, 1, 1.0, evidence="a", alpha=0.05) == again
    assert dump(f"{path}.version-2") == before


@pytest.mark.parametrize("stop", [interrupt, die])
def test_an_upgrade_from_version_2_that_is_stopped_is_made_next_time(path, nursery, stop):
    x, answers, _ = of_version_2(path)
    before = dump(path)
    for number in range(0, STATEMENTS, 3 if stop is die else 1):
        if stop is die:
            nursery.wait(nursery.fork(open_and_die, path, number))
        else:
            with at_statement(number, stop), pytest.raises(KeyboardInterrupt):
                Memory(url(path))
        if version(path) == str(SCHEMA_VERSION):
            break
        assert dump(path) == before
    assert 10 < number < STATEMENTS - 3
    assert_upgraded(path, x, answers)


@pytest.mark.parametrize("newer", ["4", "99", "two", ""])
def test_a_version_that_nobody_knows_is_refused_and_untouched(path, newer):
    old(path)
    edit(path, "UPDATE meta SET value = ? WHERE key = 'schema_version'", newer)
    before = dump(path)
    with pytest.raises(StoreError, match=f"has memory version {newer}, .*upgrade ddrs"):
        Memory(url(path))
    assert dump(path) == before
    assert copies(path) == []


def test_another_norm_than_that_of_the_file_is_refused(path):
    x, answers, _ = old(path, norm="l1")
    with pytest.raises(StoreMismatchError, match="made for l1, not for l2"):
        Memory(url(path), "l2")
    assert_upgraded(path, x, answers)
