import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from ddrs import models
from ddrs.errors import ConfigurationError, RunError, WeightsError
from models.networks import assert_same, trained

RUN = {
    "kind": "train",
    "arch": "digits-cnn",
    "num_classes": 4,
    "input_shape": [1, 8, 8],
    "sigma": 0.25,
    "noise": "gaussian",
}


def write_run(path: Path, **changes: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(RUN | changes))
    save_file(trained().state_dict(), path / "weights.safetensors")
    return path


def test_a_training_run(tmp_path: Path) -> None:
    loaded = models.load(str(write_run(tmp_path / "run")))
    assert_same(loaded.module, trained())
    assert not loaded.module.training
    assert (loaded.num_classes, loaded.sigma, loaded.noise) == (4, 0.25, "gaussian")
    assert (loaded.input_shape, loaded.source) == ((1, 8, 8), str(tmp_path / "run"))
    assert models.read_run_config(tmp_path / "run") == models.RunConfig(
        arch="digits-cnn", num_classes=4, input_shape=(1, 8, 8), sigma=0.25, noise="gaussian"
    )


def test_a_training_run_with_other_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    save_file(trained(seed=3).state_dict(), tmp_path / "w.safetensors")
    loaded = models.load(str(run), tmp_path / "w.safetensors", num_classes=99)
    assert_same(loaded.module, trained(seed=3))
    assert loaded.num_classes == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"config\.json is damaged"),
        ("[]", "not of a training run"),
        (json.dumps(RUN | {"kind": "certify"}), "not of a training run"),
        (json.dumps({k: v for k, v in RUN.items() if k != "sigma"}), "bad or missing value: 'si"),
        (json.dumps(RUN | {"sigma": None}), "bad or missing value"),
        (json.dumps(RUN | {"input_shape": 3}), "bad or missing value"),
        (json.dumps(RUN | {"sigma": -1.0}), "damaged: .*sigma=-1.0"),
        (json.dumps(RUN | {"sigma": float("nan")}), "damaged: .*sigma=nan"),
        (json.dumps(RUN | {"num_classes": 0}), "damaged: .*num_classes=0"),
        (json.dumps(RUN | {"noise": "pink"}), "damaged: .*noise='pink'"),
    ],
)
def test_a_damaged_run_is_named_and_left_alone(tmp_path: Path, content: str, message: str) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        models.load(str(run))
    assert (run / "config.json").read_text() == content


def test_an_incomplete_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no config\.json: give a directory of ddrs train"):
        models.load(str(tmp_path))
    run = write_run(tmp_path / "run")
    (run / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weights file"):
        models.load(str(run))
    with pytest.raises(ConfigurationError, match="unknown architecture 'mlp'"):
        models.load(str(write_run(tmp_path / "run", arch="mlp")))
