import dataclasses

import pytest

from ddrs.training.objectives.consistency import Consistency
from ddrs.training.objectives.gaussian import GaussianAugmentation
from ddrs.training.objectives.macer import Macer
from ddrs.training.objectives.methods import METHODS, objective_class
from ddrs.training.objectives.smoothadv import SmoothAdv


def test_they_are_known_by_their_names():
    assert {method: objective_class(method) for method in METHODS} == {
        "gaussian": GaussianAugmentation,
        "smoothadv": SmoothAdv,
        "macer": Macer,
        "consistency": Consistency,
    }


@pytest.mark.parametrize("name", METHODS)
def test_each_is_a_frozen_dataclass_with_defaults(name):
    objective = objective_class(name)()
    assert dataclasses.asdict(objective) == dataclasses.asdict(objective_class(name)())
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.passes = 3
