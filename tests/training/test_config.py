import json
from dataclasses import asdict

import pytest

from ddrs.errors import ConfigurationError
from ddrs.training.config import TrainingConfig, preset
from ddrs.training.objectives.smoothadv import SmoothAdv
from ddrs.training.sigmas import DataDependent


def test_it_is_plain_data():
    config = TrainingConfig(
        method="smoothadv",
        options={"epsilon": 0.5},
        schedule="step",
        milestones=(20, 40),
        data_dependent=DataDependent(warmup=3),
    )
    record = config.record()
    assert {**asdict(config), "milestones": [20, 40]} == record
    assert json.loads(json.dumps(record)) == record
    assert record["options"] == {"epsilon": 0.5}
    assert record["milestones"] == [20, 40]
    assert record["data_dependent"]["warmup"] == 3


def test_the_objective_has_the_options():
    config = TrainingConfig(method="smoothadv", options={"epsilon": 0.5, "steps": 4})
    assert config.objective() == SmoothAdv(epsilon=0.5, steps=4)


def test_cost_of_a_run():
    assert TrainingConfig(epochs=8).passes == 8
    assert TrainingConfig(method="macer", options={"k": 4}, epochs=8).passes == 32
    adaptive = DataDependent(warmup=2, steps=3, n=2)
    config = TrainingConfig(epochs=8, data_dependent=adaptive)
    assert config.passes == pytest.approx(8 + 6 * 3 * 2 * 2 / 3)
    assert [config.adapts(epoch) for epoch in range(8)] == [False] * 2 + [True] * 6
    assert not TrainingConfig(epochs=8).adapts(7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method must be one of gaussian, smoothadv, macer, consist.*'magic'"),
        ({"options": {"epsilon": 1.0}}, "options of gaussian"),
        ({"method": "macer", "options": {"k": 0}}, "k >= 1"),
        ({"noise": "laplace"}, "noise must be one of"),
        ({"schedule": "zigzag"}, "schedule must be one of"),
        ({"schedule": "step"}, "milestones"),
        ({"gamma": 0.5}, "gamma is of the schedule step, not of one-cycle"),
        ({"schedule": "cosine", "gamma": 0.2}, "gamma is of the schedule step, not of cosine"),
        ({"precision": "fp16"}, "precision must be one of"),
        ({"sigma": -0.1}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"sigma": float("inf")}, "sigma"),
        ({"epochs": 0}, "epochs >= 1"),
        ({"batch_size": 1}, "batch_size >= 2"),
        ({"lr": 0.0}, "lr > 0"),
        ({"lr": float("inf")}, "lr > 0"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"validation": -0.1}, "validation"),
        ({"validation": 1.5}, "validation"),
        ({"validation": float("nan")}, "validation"),
        ({"validation": float("inf")}, "validation"),
        ({"sigma": 0.0, "data_dependent": DataDependent()}, "sigma must satisfy"),
        ({"data_dependent": DataDependent(low=0.3)}, "sigma must satisfy"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**63}, "seed must be"),
        ({"method": "macer", "options": {"passes": 1.0}}, "macer are k, weight, gamma, beta"),
        ({"method": "smoothadv", "options": {"at_epoch": 3}}, "there is no at_epoch"),
        ({"epochs": 5, "data_dependent": DataDependent(warmup=5)}, "shorter than the 5 epochs"),
    ],
)
def test_a_configuration_that_can_never_work_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfig(**options)


@pytest.mark.parametrize(
    ("method", "dataset", "epochs", "options"),
    [
        ("gaussian", "imagenet", 90, {}),
        ("smoothadv", "cifar10", 150,
         {"attack": "pgd", "epsilon": 0.25, "steps": 2, "m": 1, "warmup": 10,
          "relative": False}),
        ("macer", "imagenet", 120, {"k": 2, "weight": 6.0, "gamma": 8.0, "beta": 16.0}),
        ("consistency", "cifar10", 150, {"m": 2, "weight": 20.0, "eta": 0.5}),
        ("macer", "cifar10", 440, {"k": 16, "weight": 12.0, "gamma": 8.0, "beta": 16.0}),
    ],
)  # fmt: skip
def test_a_preset_is_a_training_as_published(method, dataset, epochs, options):
    config = TrainingConfig(method=method, **preset(method, dataset))
    assert (config.epochs, config.options, config.schedule) == (epochs, options, "step")
    assert config.augment
    assert not config.nesterov


@pytest.mark.parametrize(
    ("changes", "milestones"),
    [
        ({"epochs": 30}, [10, 20]),
        ({"epochs": 3}, [1, 2]),
        ({"epochs": 2}, [1]),  # both at one
        ({"schedule": "cosine"}, []),
        ({"schedule": "one-cycle", "epochs": 8}, []),
    ],
)
def test_what_is_given_beside_a_preset_moves_its_milestones(changes, milestones):
    fields = preset("smoothadv", "cifar10", **changes)
    assert {key: fields[key] for key in changes} == changes
    assert TrainingConfig(method="smoothadv", **fields).milestones == milestones


@pytest.mark.parametrize("names", [("macer", "mnist"), ("gaussian", "mnist"), ("x", "cifar10")])
def test_a_preset_that_is_not_there_is_refused(names):
    with pytest.raises(ConfigurationError, match="no preset"):
        preset(*names)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("macer", {"k": 1.5}),
        ("macer", {"k": "many"}),
        ("macer", {"k": True}),
        ("smoothadv", {"epsilon": "far"}),
        ("smoothadv", {"attack": 2}),
    ],
)
def test_an_option_of_another_type_is_refused(method, options):
    (name,) = options
    with pytest.raises(ConfigurationError, match=f"options of {method}: {name} is a"):
        TrainingConfig(method=method, options=options)


def test_the_bounds_of_the_sigmas():
    assert TrainingConfig(sigma=0.4).sigma_bounds is None
    assert TrainingConfig(sigma=0.4, data_dependent=DataDependent()).sigma_bounds == (0.1, 1.6)
    assert TrainingConfig(sigma=0.4, sigma_range=(0.2, 0.5)).sigma_bounds == (0.2, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma_range": (0.3, 0.5)}, "0 < low <= initial"),
        ({"sigma_range": (0.1, 0.2)}, "0 < low <= initial"),
        ({"sigma_range": (0.0, 0.5)}, "0 < low <= initial"),
        ({"sigma_range": (0.1, 0.2, 0.3)}, "two numbers"),
        ({"sigma_range": (0.1, 0.5), "data_dependent": DataDependent()}, "give one"),
    ],
)
def test_a_range_that_can_never_work_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfig(sigma=0.25, **changes)


def test_a_whole_number_stands_for_a_float():
    assert TrainingConfig(method="macer", options={"gamma": 8}).objective().gamma == 8
