import doctest
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from ddrs.errors import ConfigurationError, InputError, StoreError
from ddrs.inputs import Point, input_digest
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from memory.contract import MemoryContract, SharedMemoryContract


class TestInProcess(MemoryContract):
    def url(self, folder):
        return "memory://"


class TestSQLite(SharedMemoryContract):
    def url(self, folder):
        return f"sqlite:///{folder}/memory.db"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("postgresql+asyncpg://host/name",), "use memory://"),
        (("mysql://host/name",), "use memory://"),
        (("nonsense",), "use memory://"),
        ((None,), "use memory://"),
        (("sqlite://",), "use memory://"),
        (("sqlite:///:memory:",), "use memory://"),
        (("sqlite:///a.db?mode=ro",), "use memory://"),
        (("memory://name",), "use memory://"),
        (("memory://", "linf"), "unknown norm 'linf'"),
    ],
)
def test_what_can_never_work_is_refused_before_any_file_opens(
    arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        Memory(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.inf, math.nan])
def test_timeouts_that_can_never_work_are_refused(timeout):
    with pytest.raises(ConfigurationError, match="timeout"):
        Memory("memory://", timeout=timeout)


def test_two_memories_in_the_process_are_apart():
    with Memory("memory://") as one, Memory("memory://") as two:
        one.resolve([0.0], 1, 1.0)
        assert len(two) == 0


def test_a_closed_memory_says_so():
    memory = Memory("memory://")
    memory.close()
    memory.close()
    with pytest.raises(StoreError, match="closed"):
        memory.resolve([0.0], 1, 1.0)
    with pytest.raises(StoreError, match="closed"):
        len(memory)


def test_torch_tensors_are_taken_as_they_are():
    with Memory("memory://") as memory:
        x = torch.tensor([[0.5, 0.25], [4.0, 4.0]], requires_grad=True)
        answers = memory.resolve_many(x, torch.tensor([1, 2]), torch.tensor([1.0, 2.0]))
        assert answers == [Resolution(1, 1.0, "own"), Resolution(2, 2.0, "own")]
        assert memory.recall(np.array([0.5, 0.25])) == answers[0]
        assert memory.lookup(x[1].half()).x.dtype == np.float32
        with pytest.raises(InputError, match="numpy"):
            memory.resolve(x[0].bfloat16(), 1, 1.0)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "u8", "i8"])
def test_every_dtype_is_stored_as_it_came(dtype, tmp_path):
    x = np.array([[3, 7], [0, 100]], dtype)
    with Memory(f"sqlite:///{tmp_path}/m.db") as memory:
        memory.resolve(x.T, 1, 0.5)  # not contiguous
    with Memory(f"sqlite:///{tmp_path}/m.db") as memory:
        region = memory.lookup(x.T.astype(np.float64))
        assert region.x.dtype == np.dtype(dtype).newbyteorder("<")
        assert np.array_equal(region.x, x.T)
        assert memory.audit().ok


def test_a_radius_that_float64_cannot_hold_is_rounded_down():
    with Memory("memory://") as memory:
        assert memory.resolve([0.0], 1, 2**53 + 1).radius == 2.0**53
        assert memory.resolve([1e30], 1, Fraction(1, 3)).radius <= Fraction(1, 3)
        third = memory.resolve([2e30], 1, 1 - Fraction(1, 2**80)).radius
        assert third == math.nextafter(1.0, 0.0)


def test_numpy_and_python_scalars_are_one():
    with Memory("memory://") as memory:
        assert memory.resolve(np.float32(0.5), np.int64(1), np.float32(0.25)).radius == 0.25
        assert memory.lookup(0.5).prediction == 1


def test_the_example_of_the_docstring_runs():
    (example,) = doctest.DocTestFinder(recurse=False).find(Memory, "Memory")
    assert len(example.examples) == 6
    assert doctest.DocTestRunner().run(example).failed == 0


def test_points_are_answered_as_their_arrays_are_and_not_hashed_again(monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 4)).astype(np.float32) / 255
    points = [Point.of(row, digest=input_digest(row)) for row in x]
    monkeypatch.setattr("ddrs.inputs._digest", None)  # a second hash would fail
    with Memory("memory://") as memory:
        answers = memory.resolve_many(points[:4], [1, 2, 3, 4], [0.1, 9.0, 0.1, 0.1])
        assert memory.recall(points[4]) is None
        assert [memory.recall(point) for point in points[:4]] == answers
        monkeypatch.undo()
        with Memory("memory://") as other:
            assert other.resolve_many(x[:4], [1, 2, 3, 4], [0.1, 9.0, 0.1, 0.1]) == answers
            assert [memory.recall(row) for row in x[:4]] == answers
        assert memory.lookup(points[0]).prediction == memory.lookup(x[0]).prediction
        assert memory.audit().ok


def test_points_of_several_shapes_are_refused_and_nothing_is_stored():
    with Memory("memory://") as memory:
        with pytest.raises(InputError, match="several shapes"):
            memory.resolve_many([Point.of([1.0]), Point.of([1.0, 2.0])], [1, 1], [1.0, 1.0])
        assert len(memory) == 0
