"""Files that cannot grow: every error is one `StoreError`, and loses or invents nothing.

The limit is the system's own, on the size of any file that this process writes (RLIMIT_FSIZE).
Python ignores the signal that comes with it, so that a write beyond it fails as on a full disk.
"""

import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest

from ddrs.errors import StoreError
from ddrs.memory.memory import Memory
from memory.contract import conflicting
from support import version_1
from support.version_1 import dump, images


@contextmanager
def room(size):
    """No file may become larger than this many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "memory.db")


def url(path):
    return f"sqlite:///{path}"


def calls(count, each):
    """Batches of conflicting claims; their evidence makes them long."""
    x, predictions, radii = conflicting(count * each, seed=12)
    for low in range(0, count * each, each):
        part = slice(low, low + each)
        yield x[part], predictions[part], radii[part], [f"{low}" * 200] * each


def same(path, twin):
    """The store holds what a memory holds that was never short of room."""
    with Memory(url(path)) as memory:
        assert memory.audit().ok
        for ours, theirs in zip(memory.entries(), twin.entries(), strict=True):
            assert ours.resolution == theirs.resolution
            assert np.array_equal(ours.point.x, theirs.point.x)
        assert len(memory) == len(twin)


def test_at_any_moment_of_a_write(path):
    refused = []
    with Memory(url(path)) as memory, Memory(url(path)) as other, Memory("memory://") as twin:
        for number, (*claims, notes) in enumerate(calls(40, 12)):
            limit = os.path.getsize(f"{path}-wal") + 1500 * (number % 20)
            try:
                with room(limit):
                    answers = memory.resolve_many(*claims, evidence=notes)
            except StoreError as error:
                refused.append(str(error))
                assert other.audit().ok
                assert len(memory) == len(other) == len(twin)
                if number % 3 == 0:  # once there is room it goes on
                    answers = memory.resolve_many(*claims, evidence=notes)
                else:
                    continue
            assert answers == twin.resolve_many(*claims, evidence=notes)
            assert len(memory) == len(other) == len(twin)
        assert 10 < len(refused) < 40
        assert all("nothing of this call was stored" in message for message in refused)
        assert len(twin) > 100
        same(path, twin)


def test_at_checkpoints(path):
    refused = 0
    with Memory("memory://") as twin:
        memory = Memory(url(path))
        with memory._store._db.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 8")
        batches = list(calls(60, 12))
        for *claims, notes in batches[:20]:
            answers = memory.resolve_many(*claims, evidence=notes)
            assert answers == twin.resolve_many(*claims, evidence=notes)
        size = os.path.getsize(path)
        assert size > 2 * os.path.getsize(f"{path}-wal")  # so that the log can grow, not the file
        with room(size):
            for *claims, notes in batches[20:]:
                try:
                    answers = memory.resolve_many(*claims, evidence=notes)
                except StoreError:
                    refused += 1
                    continue
                assert answers == twin.resolve_many(*claims, evidence=notes)
            assert os.path.getsize(path) == size
            memory.close()  # which would bring the log into the file
        assert 3 < refused < 37
        same(path, twin)
        assert os.path.getsize(path) > size
        with Memory(url(path)) as memory:
            *claims, notes = batches[-1]
            answers = memory.resolve_many(*claims, evidence=notes)
            assert answers == twin.resolve_many(*claims, evidence=notes)
        same(path, twin)


def test_a_store_that_cannot_be_made_can_be_made_later(tmp_path):
    refused = 0
    for size in [*range(0, 40_000, 3000), 10**6]:
        path = str(tmp_path / f"{size}.db")
        try:
            with room(size):
                Memory(url(path)).close()
        except StoreError:
            refused += 1
        with Memory(url(path)) as memory:
            assert len(memory) == 0
            assert memory.resolve([0.0], 1, 1.0).outcome == "own"
            assert memory.audit().ok
    assert 3 < refused < 15


def test_an_upgrade_without_room_leaves_the_old_version(path, tmp_path):
    x, predictions, radii = images(200, seed=5)
    answers = version_1.write(path, "l2", x, predictions, radii)
    before, size = dump(path), os.path.getsize(path)
    refused = set()
    for part in np.linspace(0, 2.5, 26):
        try:
            with room(int(part * size)):
                Memory(url(path)).close()
            break
        except StoreError as error:
            refused.add("make room" in str(error))
        assert dump(path) == before
        kept = [f for f in os.listdir(tmp_path) if "version" in f]
        assert kept == ([] if part < 1 else ["memory.db.version-1"])
    assert refused == {True, False}  # no room for the copy, then none for the upgrade
    with Memory(url(path)) as memory:
        assert memory.audit().ok
        for row, answer in zip(x, answers, strict=True):
            assert memory.recall(row) == (answer if answer.prediction >= 0 else None)
    assert dump(f"{path}.version-1") == before
