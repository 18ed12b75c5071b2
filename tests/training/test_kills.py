"""A run that is killed again and again ends exactly as one that is left alone."""

import math
import os
import random
import signal
import time

import pytest
import torch

from support.nursery import Nursery
from support.toy_training import same, train_all


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def whole(nursery, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.wait(nursery.fork(train_all, str(folder), math.inf)) == 0
    return folder


def kill_after(folder, child, steps, pause):
    """Kill a training in the middle of whatever it does once it has made so many steps more."""
    path = folder / "steps"
    goal = steps + (path.stat().st_size if path.exists() else 0)
    while not (path.exists() and path.stat().st_size >= goal):
        if (folder / "ended").exists():
            return
        time.sleep(0.001)
    time.sleep(pause)
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("save_seconds", [0.0, 0.02, math.inf])
def test_kills_change_nothing(nursery, tmp_path, whole, save_seconds):
    dice, ends = random.Random(int(1000 * min(save_seconds, 1))), []
    while not ends or ends[-1] != 0:
        child = nursery.fork(train_all, str(tmp_path), save_seconds)
        if len(ends) < 5:  # 12 steps are an epoch, after which there is a checkpoint in any case
            kill_after(tmp_path, child, dice.randrange(13), dice.uniform(0, 0.01))
        ends.append(nursery.wait(child))
        assert ends[-1] in (0, -signal.SIGKILL)
    assert ends.count(-signal.SIGKILL) >= 2
    history, weights = torch.load(tmp_path / "result.pt", weights_only=False)
    expected, expected_weights = torch.load(whole / "result.pt", weights_only=False)
    assert history == expected
    assert same(weights, expected_weights)
    checkpoints = [torch.load(folder / "checkpoint.pt") for folder in (tmp_path, whole)]
    assert torch.equal(*(checkpoint["sigmas"] for checkpoint in checkpoints))
    assert len(checkpoints[0]["sigmas"].unique()) > 80
    assert same(*(checkpoint["best"] for checkpoint in checkpoints))
    assert same(*(checkpoint["model"] for checkpoint in checkpoints))
