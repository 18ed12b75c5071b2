import numpy as np
import pytest

from ddrs.jobs.null import null_answers
from ddrs.memory.memory import Memory


def line(*places):
    return np.array(places, dtype=np.float32)[:, None]


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_on_a_line_by_hand(norm):
    # 0 and 1 answer otherwise: both keep 0.5, the second loses at 0.75, and 1.5 covers it.
    found = null_answers(line(0.0, 1.0, 10.0), [0, 1, 1], norm, [0.5, 0.75, 1.5])
    assert found["0.50"].tolist() == [True, True, True]
    assert found["0.75"].tolist() == [True, False, True]
    assert found["1.50"].tolist() == [True, False, True]


def test_constant_classifiers_that_agree_keep_any_radius():
    (found,) = null_answers(line(0.0, 0.1, 0.2), [2, 2, 2], "l2", [100.0]).values()
    assert found.all()


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_memory_of_all_inputs_answers(seed):
    rng = np.random.default_rng(seed)
    x, classes = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 3, 40).tolist()
    for r in (0.1, 0.3, 0.6, 1.0):
        with Memory("memory://") as memory:
            answers = memory.resolve_many(x, classes, [r] * 40)
        kept = [a.prediction == c and a.radius >= r for a, c in zip(answers, classes, strict=True)]
        (found,) = null_answers(x, classes, "l2", [r]).values()
        assert found.tolist() == kept
