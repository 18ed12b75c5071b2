import json

import pytest

from ddrs.jobs.train_config import TrainingResult, TrainRunConfig
from ddrs.runs.summary import TrainingSummary
from ddrs.training.config import TrainingConfig
from ddrs.training.sigmas import DataDependent

TRAINED = TrainRunConfig(
    data="digits", arch="digits-cnn", num_classes=10, input_shape=(1, 8, 8), examples=1437,
    init=None, partial_init=False, start_digest="a", version="0.1.0",
    training=TrainingConfig(
        "smoothadv", {"epsilon": 0.25}, data_dependent=DataDependent(warmup=1), epochs=4,
        schedule="step", milestones=(2, 3), validation=50,
    ),
)  # fmt: skip


def test_the_configuration_of_a_training_comes_back_from_its_file() -> None:
    summary = TrainingSummary(4, 1437, 50, 3, 0.5, 0.75, None, 12.5, "b")
    result = TrainingResult(start=None, objective={"m": 1}, versions={"ddrs": "1"}, summary=summary)
    plain = json.loads(json.dumps({**TRAINED.to_json(), "result": result.to_json()}))
    assert TrainRunConfig.from_json(plain) == TRAINED
    assert (plain["kind"], plain["method"], plain["milestones"]) == ("train", "smoothadv", [2, 3])
    assert plain["result"] == {
        "start": None, "objective": {"m": 1}, "versions": {"ddrs": "1"}, **summary.to_json(),
    }  # fmt: skip
    assert TrainingSummary.from_json(plain["result"]) == summary
    with pytest.raises(ValueError, match="not of `ddrs train`"):
        TrainRunConfig.from_json(plain | {"kind": "certify"})
