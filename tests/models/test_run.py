import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddrs import models
from ddrs.errors import ConfigurationError, MissingDependencyError, RunError, WeightsError
from ddrs.networks.identity import model_digest
from support.networks import RUN, assert_same, assert_unchanged, trained, write_run
from support.transformer import PROCESSOR, save, tiny_resnet, tiny_vit


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
        ("[]", r"config\.json is damaged"),
        (json.dumps(RUN | {"kind": "certify"}), "not of a training run"),
        (
            json.dumps({k: v for k, v in RUN.items() if k != "sigma"}),
            "bad or missing value: sigma is missing",
        ),
        (json.dumps(RUN | {"sigma": None}), "bad or missing value"),
        (json.dumps(RUN | {"input_shape": 3}), "bad or missing value"),
        (json.dumps(RUN | {"sigma": -1.0}), "damaged: .*sigma=-1.0"),
        (json.dumps(RUN | {"sigma": float("nan")}), "damaged: NaN is no number"),
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


# Runs whose network is one of `transformers`.


def hf_run(path: Path, model: Any = None, settings: Any = PROCESSOR) -> tuple[Path, models.Start]:
    """A finished run that started from a model of the hub, and the network that it made."""
    made = models.start(
        None, save(model or tiny_vit(), path / "m", settings), num_classes=5, partial=True
    )
    with torch.no_grad():
        for weight in made.module.parameters():
            weight.mul_(1.1)  # it was trained
    run = write_run(path / "run", made.module, arch="hf", num_classes=5, input_shape=[3, 8, 8])
    models.save_architecture(made.module, run / "architecture")
    return run, made


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (tiny_vit, PROCESSOR),
        (tiny_vit, None),
        (lambda: tiny_vit().bfloat16(), PROCESSOR),
        (tiny_resnet, PROCESSOR | {"size": 9}),  # of three classes
    ],
)
def test_a_run_of_a_transformers_network_gives_the_same_logits(
    tmp_path: Path, make: Any, settings: Any
) -> None:
    run, made = hf_run(tmp_path, make(), settings)
    made.module.eval()
    loaded = models.load(str(run))
    assert_same(loaded.module, made.module, (3, 8, 8))
    assert_unchanged(loaded.module, load_file(run / "weights.safetensors"))
    assert model_digest(loaded.module, "fp32") == model_digest(made.module, "fp32")
    assert not loaded.module.training
    assert (loaded.num_classes, loaded.sigma, loaded.input_shape) == (5, 0.25, (3, 8, 8))


def test_a_run_of_a_transformers_network_with_other_weights(tmp_path: Path) -> None:
    run, made = hf_run(tmp_path)
    state = {key: value + 1 for key, value in made.module.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    assert_unchanged(models.load(str(run), tmp_path / "w.safetensors").module, state)
    state["model.classifier.bias"] = torch.zeros(4)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"wrong shape model.classifier.bias \(4,\) for \(5,\)"):
        models.load(str(run), tmp_path / "w.safetensors")


def test_networks_of_ours_need_no_architecture(tmp_path: Path) -> None:
    models.save_architecture(trained(), tmp_path / "architecture")
    assert not list(tmp_path.iterdir())


def test_an_architecture_is_replaced_whole(tmp_path: Path) -> None:
    run, _ = hf_run(tmp_path)
    left = run / "architecture.0123abcd.partial"  # of a process that was killed
    mine = run / "architecture.partial"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "torn.json").write_text("{")
    (run / "architecture" / "stray.json").write_text("{}")
    hf_run(tmp_path, settings=PROCESSOR | {"image_mean": [0.1, 0.2, 0.3]})
    found = sorted(path.name for path in (run / "architecture").iterdir())
    assert found == ["config.json", "preprocessor_config.json"]
    assert models.load(str(run)).module.normalize.mean.flatten().tolist() == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    assert not left.exists()
    assert [path.name for path in mine.iterdir()] == ["torn.json"]


def test_an_architecture_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, made = hf_run(tmp_path)
    files = {path: path.read_bytes() for path in (run / "architecture").iterdir()}

    def full(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match=r"cannot write .*architecture: .*No space left"):
        models.save_architecture(made.module, run / "architecture")
    assert {path: path.read_bytes() for path in (run / "architecture").iterdir()} == files
    assert not list(run.glob("*.partial"))
    with pytest.raises(RunError, match=r"cannot write .*absent/architecture: .*No such file"):
        models.save_architecture(made.module, tmp_path / "absent" / "architecture")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"architecture has no config\.json: give a run .* that is finished"),
        ("preprocessor_config.json", None, r"architecture has no preprocessor_config\.json"),
        ("config.json", "{", "architecture is damaged: "),
        ("config.json", "{}", "architecture is damaged: "),
        ("config.json", '{"model_type": "bert"}', "architecture is damaged: "),
        ("preprocessor_config.json", "{", "architecture is damaged: "),
    ],
)
def test_a_damaged_architecture_is_named(
    tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    run, _ = hf_run(tmp_path)
    path = run / "architecture" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        models.load(str(run))
    assert "\n" not in str(caught.value)


def test_a_run_of_a_transformers_network_needs_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = hf_run(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ddrs\[hf\]'"):
        models.load(str(run))
