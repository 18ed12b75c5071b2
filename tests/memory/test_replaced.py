"""A store that went back in time under an open memory is found out, even after it has grown again.

The process that knows more than the store was told would otherwise give and store answers that
contradict its own earlier ones, or decide by regions that are no longer there.

DDRS_LOAD is how often a store under load goes back; `make stress` sets it to many times.
"""

import os
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from ddrs.errors import StoreError
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from support.nursery import Nursery

LOAD = int(os.environ.get("DDRS_LOAD", "1"))
REPLACED = "replaced by an older or another copy, and nothing was stored"


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


class File:
    """A file, and a copy of it that is put back in place as `cp` does."""

    def __init__(self, folder, nursery):
        self.path = str(folder / "memory.db")
        self.url = f"sqlite:///{self.path}"
        self.nursery = nursery

    def settle(self):
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def keep(self):
        self.settle()
        subprocess.run(["cp", self.path, f"{self.path}.old"], check=True)

    def go_back(self):
        self.settle()
        # Not by this process: closing any descriptor of the file would drop its locks.
        subprocess.run(["cp", f"{self.path}.old", self.path], check=True)


class Server:
    """A database from which the last entries are deleted, which is what an older copy holds."""

    def __init__(self, postgres, nursery):
        self.url = postgres.database()
        self.name = self.url.split("/")[3].split("?")[0]
        self.postgres = postgres
        self.nursery = nursery

    def keep(self):
        query = "SELECT entries, chain FROM head ORDER BY id"
        self.kept = self.postgres.execute(query, self.name)
        self.facts = self.postgres.execute("SELECT key FROM meta", self.name)

    def go_back(self):
        (entries, chain), (abstentions, last) = self.kept
        facts = ", ".join(f"'{key}'" for (key,) in self.facts)
        for statement in (
            f"DELETE FROM regions WHERE id > {entries}",
            f"DELETE FROM inputs WHERE id > {entries}",
            f"DELETE FROM meta WHERE key NOT IN ({facts})",
            f"UPDATE head SET entries = {entries}, chain = '{chain}' WHERE id = 1",
            f"DELETE FROM abstentions WHERE id > {abstentions}",
            f"UPDATE head SET entries = {abstentions}, chain = '{last}' WHERE id = 2",
        ):
            self.postgres.execute(statement, self.name)


@pytest.fixture(params=["file", "server"])
def store(request, tmp_path, nursery):
    if request.param == "file":
        return File(tmp_path, nursery)
    return Server(request.getfixturevalue("postgres"), nursery)


def line(first, count):
    """Points on a line, three apart."""
    return np.stack([3.0 * np.arange(first, first + count), np.zeros(count)], axis=1)


def add(url, first, count, prediction=1, norm="l2"):
    with Memory(url, norm) as memory:
        memory.resolve_many(line(first, count), [prediction] * count, [1.0] * count)


def by_another_process(store, *arguments):
    assert store.nursery.wait(store.nursery.fork(add, store.url, *arguments)) == 0


NEAR = [3.0, 0.5]
CALLS = {
    "resolve": lambda memory: memory.resolve(NEAR, 7, 1.0),
    "resolve_many": lambda memory: memory.resolve_many([NEAR], [7], [1.0]),
    "an abstention": lambda memory: memory.resolve(NEAR, -1, 0.0),
    "recall": lambda memory: memory.recall(NEAR),
    "lookup": lambda memory: memory.lookup(NEAR),
    "entries": lambda memory: list(memory.entries()),
    "bind": lambda memory: memory.bind("m", "gaussian"),
    "about": lambda memory: memory.about(),
    "len": lambda memory: len(memory),
}


def assert_refused(memory):
    for name, call in CALLS.items():
        with pytest.raises(StoreError, match=REPLACED) as caught:
            call(memory)
        assert "\n" not in str(caught.value), name
    assert not memory.audit().ok


def assert_sound(store, count):
    with Memory(store.url) as memory:
        report = memory.audit()
        assert (report.ok, report.entries) == (True, count), report.violations
        assert memory.recall(NEAR) is None


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("grown", [1, 5, 9])  # to fewer entries than before, as many, and more
def test_it_is_refused_however_far_it_has_grown_again(store, grown, learned):
    add(store.url, 0, 3)
    store.keep()
    with Memory(store.url) as memory:
        memory.resolve_many(line(10, 5), [1] * 5, [1.0] * 5)  # its own are compared too
        if learned:
            assert memory.lookup([30.5, 0.0]).prediction == 1
        store.go_back()
        by_another_process(store, 50, grown, 2)
        assert_refused(memory)
        by_another_process(store, 70, 20, 3)
        assert_refused(memory)
    assert_sound(store, 3 + grown + 20)


@pytest.mark.parametrize("first", CALLS)
def test_whatever_is_called_first(store, first):
    add(store.url, 0, 3)
    store.keep()
    with Memory(store.url) as memory:
        memory.resolve_many(line(10, 5), [1] * 5, [1.0] * 5)
        store.go_back()
        by_another_process(store, 50, 9, 2)
        with pytest.raises(StoreError, match=REPLACED):
            CALLS[first](memory)
        with pytest.raises(StoreError, match=REPLACED):
            memory.resolve(NEAR, 7, 1.0)
    assert_sound(store, 12)


def test_a_reader_is_not_deceived_either(store):
    add(store.url, 0, 3)
    store.keep()
    by_another_process(store, 10, 4)
    with Memory(store.url, read_only=True) as memory:
        assert memory.lookup([30.5, 0.0]).prediction == 1
        store.go_back()
        by_another_process(store, 50, 7, 2)
        with pytest.raises(StoreError, match=REPLACED):
            memory.resolve([30.5, 0.0], 2, 1.0)
        with pytest.raises(StoreError, match=REPLACED):
            memory.lookup([30.5, 0.0])
    assert_sound(store, 10)


def test_from_the_first_entry_on(store):
    Memory(store.url).close()
    store.keep()
    with Memory(store.url) as memory:
        assert memory.resolve([30.0, 0.0], 1, 1.0) == Resolution(1, 1.0, "own")
        store.go_back()
        by_another_process(store, 10, 1, 2)  # the same ball, of another class
        assert_refused(memory)
    assert_sound(store, 1)


def test_entries_listed_while_it_goes_back_are_not_mixed(store, monkeypatch):
    monkeypatch.setattr("ddrs.memory.view.VALUES_IN_MEMORY", 4)  # two entries at once
    add(store.url, 0, 3)
    store.keep()
    with Memory(store.url) as memory:
        memory.resolve_many(line(10, 5), [1] * 5, [1.0] * 5)
        listed = memory.entries()
        assert [next(listed).id for _ in range(2)] == [1, 2]
        store.go_back()
        by_another_process(store, 50, 5, 2)
        with pytest.raises(StoreError, match=REPLACED):
            next(listed)


def abstain(url, *names):
    with Memory(url) as memory:
        for name in names:
            memory.resolve(NEAR, -1, 0.0, evidence=name, alpha=0.01, asked=0.01 * len(name))


@pytest.mark.parametrize("grown", [[], ["bb"], ["bb", "ccc", "dddd"]])
def test_an_abstention_that_is_gone_is_noticed(store, grown):
    abstain(store.url, "a")
    store.keep()
    with Memory(store.url) as memory:
        memory.resolve([9.0, 0.0], -1, 0.0, evidence="other", alpha=0.01)
        store.go_back()
        assert store.nursery.wait(store.nursery.fork(abstain, store.url, *grown)) == 0
        assert_refused(memory)
    assert_sound(store, 0)


def test_a_memory_that_knows_no_entry_yet_knows_what_it_was_made_for(store):
    Memory(store.url).close()
    store.keep()
    with Memory(store.url) as memory:
        memory.bind("m", "gaussian")
        store.go_back()
        with Memory(store.url) as other:
            other.bind("another", "gaussian")
        with pytest.raises(StoreError, match=f"made for another model before: .*{REPLACED}"):
            memory.resolve([0.0, 0.0], 1, 1.0)
    with Memory(store.url) as other:
        assert len(other) == 0


def test_what_was_not_replaced_is_no_other(store):
    with Memory(store.url) as one, Memory(store.url) as two:
        for k in range(6):
            for memory in (one, two):
                memory.resolve_many(line(4 * k, 3), [1] * 3, [1.0] * 3)
                assert memory.lookup([0.5, 0.0]).prediction == 1
            by_another_process(store, 4 * k + 3, 1)
        assert len(one) == len(two) == 24
        assert one.audit().ok
        assert two.audit().ok


def test_a_copy_moved_in_place_of_the_file_is_refused_too(tmp_path, nursery):
    store = File(tmp_path, nursery)
    add(store.url, 0, 3)
    store.keep()
    with Memory(store.url) as memory:
        memory.resolve_many(line(10, 5), [1] * 5, [1.0] * 5)
        store.settle()
        os.replace(f"{store.path}.old", store.path)
        for call in CALLS.values():
            with pytest.raises(StoreError, match=r"deleted or replaced|not tied"):
                call(memory)
    for suffix in ("-wal", "-shm"):  # of the file that is gone
        if os.path.exists(store.path + suffix):
            os.remove(store.path + suffix)
    add(store.url, 50, 9, 2)
    assert_sound(store, 12)


@pytest.mark.parametrize("mode", [signal.SIGINT, signal.SIGKILL])
def test_a_server_that_comes_back_with_an_older_state_is_refused(postgres, nursery, mode):
    store = Server(postgres, nursery)
    add(store.url, 0, 3)
    store.keep()
    with Memory(store.url, timeout=60) as memory, Memory(store.url, timeout=60) as same:
        memory.resolve_many(line(10, 5), [1] * 5, [1.0] * 5)
        assert same.lookup([30.5, 0.0]).prediction == 1
        postgres.stop(mode)
        postgres.start()
        assert same.lookup([33.5, 0.0]).prediction == 1  # the same store goes on
        postgres.stop(mode)
        postgres.start()
        store.go_back()
        by_another_process(store, 50, 9, 2)
        assert_refused(memory)
        assert_refused(same)
    assert_sound(store, 12)


def ask(memory, seed, count=6):
    """Claims at few points, where others claim at once: an answer is the same when asked again."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        point = random.integers(-20, -10, 2) / 2
        claim = int(random.integers(0, 3)), float(random.random()) + 0.1
        answer = memory.resolve(point, *claim)
        again = memory.resolve(point, (claim[0] + 1) % 3, 5.0)
        kept = memory.recall(point)
        assert (answer.prediction, answer.radius) == (again.prediction, again.radius)
        assert (answer.prediction, answer.radius) == (kept.prediction, kept.radius)


def ask_by_itself(url, seed):
    with Memory(url, timeout=120) as memory:
        ask(memory, seed)


@pytest.mark.parametrize("number", range(LOAD))
def test_writers_at_once_that_ask_again_and_a_store_that_goes_back(store, number):
    seeds = range(6 * number, 6 * number + 6)
    with Memory(store.url, timeout=120) as memory:
        children = [store.nursery.fork(ask_by_itself, store.url, seed) for seed in seeds[:3]]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda seed: ask(memory, seed), seeds[3:]))
        assert [store.nursery.wait(child) for child in children] == [0] * 3
        assert memory.audit().ok
    store.keep()
    with Memory(store.url, timeout=120) as one, Memory(store.url, timeout=120) as two:
        with ThreadPoolExecutor(2) as pool:
            learn = [
                pool.submit(memory.resolve_many, line(first, 5), [1] * 5, [1.0] * 5)
                for memory, first in ((one, 1000), (two, 1010))
            ]
        assert [len(each.result()) for each in learn] == [5, 5]
        store.go_back()
        by_another_process(store, 1050, 3 + 4 * (number % 4), 2)
        assert_refused(one)
        assert_refused(two)
    with Memory(store.url) as memory:
        assert memory.audit().ok
