import math

import pytest
import torch

from ddrs.errors import ConfigurationError
from ddrs.training.config import TrainingConfig
from ddrs.training.schedules import check_milestones, make_schedule


def rates(schedule, milestones=(), epochs=4, steps=5):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4, momentum=0.9)
    config = TrainingConfig(
        schedule=schedule, lr=0.4, epochs=epochs, milestones=milestones, gamma=0.1
    )
    made = make_schedule(optimizer, config, steps)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


def test_cosine():
    expected = [0.2 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    assert rates("cosine") == pytest.approx(expected, rel=1e-9)


def test_steps():
    expected = [0.4] * 5 + [0.04] * 10 + [0.004] * 5
    assert rates("step", (1, 3)) == pytest.approx(expected, rel=1e-12)


def test_one_cycle_rises_to_the_highest_and_ends_near_nothing():
    found = rates("one-cycle")
    top = found.index(max(found))
    assert max(found) == pytest.approx(0.4)
    assert found[0] == pytest.approx(0.4 / 25)
    assert top == 5  # 30 % of the 20 steps, counted from 0
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert found[-1] < 1e-5


@pytest.mark.parametrize(
    ("schedule", "milestones", "gamma"),
    [
        ("step", (), 0.1),
        ("step", (3, 2), 0.1),
        ("step", (2, 2), 0.1),
        ("step", (0, 2), 0.1),
        ("step", (2, 9), 0.1),
        ("step", (2,), 1.0),
        ("step", (2,), 0.0),
        ("cosine", (2,), 0.1),
    ],
)
def test_milestones_that_can_never_work_are_refused(schedule, milestones, gamma):
    with pytest.raises(ConfigurationError):
        check_milestones(schedule, milestones, gamma, 9)


def test_milestones_that_work_are_not():
    check_milestones("step", [1, 8], 0.1, 9)
    check_milestones("one-cycle", [], 0.1, 9)
