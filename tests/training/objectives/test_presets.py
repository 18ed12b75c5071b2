import dataclasses

from ddrs.training.objectives.macer import Macer
from ddrs.training.objectives.methods import METHODS, objective_class
from ddrs.training.objectives.presets import PRESETS, TRAINING_PRESETS
from ddrs.training.objectives.smoothadv import SmoothAdv


def test_every_method_has_the_values_of_its_paper():
    assert PRESETS.keys() == TRAINING_PRESETS.keys() == {*METHODS}
    for method, presets in PRESETS.items():
        assert presets.keys() == TRAINING_PRESETS[method].keys() <= {"cifar10", "imagenet"}
        assert all(type(preset) is objective_class(method) for preset in presets.values())
    assert PRESETS["smoothadv"]["cifar10"] == SmoothAdv("pgd", 0.25, steps=2, m=1, warmup=10)
    assert PRESETS["macer"]["cifar10"] == Macer(k=16, weight=12, gamma=8, beta=16)


def test_the_defaults_are_the_small_images_values_without_a_warm_up():
    for method, presets in PRESETS.items():
        default = objective_class(method)()
        changes = {"warmup": 1} if method == "smoothadv" else {}
        assert dataclasses.replace(presets["cifar10"], **changes) == default


def test_schedules_can_be_carried_out():
    for presets in TRAINING_PRESETS.values():
        for preset in presets.values():
            assert preset.schedule == "step"
            assert list(preset.milestones) == sorted(set(preset.milestones))
            assert 0 < preset.milestones[0] <= preset.milestones[-1] < preset.epochs
            assert 0 < preset.gamma < 1
            assert 0 < preset.lr <= 0.1
