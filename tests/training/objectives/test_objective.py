import dataclasses

import pytest

from ddrs.training.objectives import OBJECTIVES
from ddrs.training.objectives.gaussian import Gaussian
from ddrs.training.objectives.macer import Macer
from ddrs.training.objectives.smoothadv import SmoothAdv


def test_they_are_known_by_their_names():
    assert {"gaussian": Gaussian, "smoothadv": SmoothAdv, "macer": Macer} == OBJECTIVES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_is_a_frozen_dataclass_with_defaults(name):
    objective = OBJECTIVES[name]()
    assert dataclasses.asdict(objective) == dataclasses.asdict(OBJECTIVES[name]())
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.passes = 3
