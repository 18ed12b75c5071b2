from pathlib import Path

import numpy as np
import pytest

from ddrs import data
from ddrs.errors import RunError
from ddrs.inputs import input_digest
from ddrs.jobs.checks import check_same_inputs, keeps_answer
from ddrs.memory.memory import Memory
from support import toy
from support.certified import certified


def test_other_inputs_or_labels_are_refused(tmp_path: Path) -> None:
    dataset = data.load(toy.write_inputs(tmp_path / "data.npz"), "test")
    x, label = dataset[3]
    same = certified(index=3, label=label, input_digest=input_digest(x.numpy()))
    check_same_inputs([same], dataset)
    for wrong in (
        certified(index=3, label=label + 1, input_digest=input_digest(x.numpy())),
        certified(index=3, label=label),
    ):
        with pytest.raises(RunError, match=r"input 3 of .* the data changed"):
            check_same_inputs([same, wrong], dataset)


def test_a_memory_keeps_an_answer_or_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    x = np.zeros(3, np.float32)
    own = certified(prediction=1, radius=0.5).certificate
    with Memory(url) as memory:
        assert not keeps_answer(memory, x, own)
        memory.resolve(x, 1, 0.5)
        assert keeps_answer(memory, x, own)
        for changes in ({"prediction": 2}, {"radius": 0.4}, {"outcome": "trimmed"}):
            assert not keeps_answer(memory, x, certified(**changes).certificate)
        for outcome in ("abstained", "unrecorded"):
            assert keeps_answer(memory, x + 9, certified(outcome=outcome).certificate)
    with Memory(url, read_only=True) as memory:  # near the one that is stored
        near = x + np.float32(0.01)
        radius = memory.resolve(near, -1, 0.0).radius
        for share, kept in ((1.0, True), (0.5, True), (1.01, False)):
            given = certified(outcome="inherited", radius=share * radius).certificate
            assert keeps_answer(memory, near, given) is kept
        other = certified(outcome="inherited", radius=0.1, prediction=2).certificate
        assert not keeps_answer(memory, near, other)
