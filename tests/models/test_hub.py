import importlib.machinery
import io
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ddrs import models
from ddrs.errors import DDRSError, MissingDependencyError, ModelError, WeightsError
from support.networks import write_run
from support.transformer import MEAN, PROCESSOR, STD, logits, normalised, save, tiny_vit


def test_hf_classifier_with_half_precision_weights_takes_floats(tmp_path: Path) -> None:
    spec = save(tiny_vit().bfloat16(), tmp_path / "m", PROCESSOR)
    assert models.load(spec).module(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_names_of_classes_are_those_of_the_model(tmp_path: Path) -> None:
    assert models.load(save(tiny_vit(), tmp_path / "a", None)).classes is None  # LABEL_0, LABEL_1
    model = tiny_vit()
    model.config.id2label = dict(enumerate("vwxyz"))
    assert models.load(save(model, tmp_path / "b", None)).classes == tuple("vwxyz")


def test_hf_weights_file(tmp_path: Path) -> None:
    other = tiny_vit()
    with torch.no_grad():
        other.classifier.bias += 1
    torch.save(other.state_dict(), tmp_path / "w.pt")
    spec = save(tiny_vit(), tmp_path / "m", None)
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(models.load(spec, tmp_path / "w.pt").module(x), logits(other, x))


def test_hf_checkpoint_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    tiny_vit().vit.save_pretrained(tmp_path / "m")
    with pytest.raises(WeightsError, match=r"no trained weights for classifier\.bias"):
        models.load(f"hf:{tmp_path}/m")


def test_hf_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty cannot be loaded"):
        models.load(f"hf:{tmp_path}/empty")
    spec = save(tiny_vit(), tmp_path / "m", None)
    (tmp_path / "m" / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match="m cannot be loaded: JSONDecodeError"):
        models.load(spec)
    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR | {"do_flip_channel_order": True})
    with pytest.raises(ModelError, match="BGR"):
        models.load(spec)
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="m cannot be loaded"):
        models.load(spec)


@pytest.mark.parametrize(
    ("spec", "package", "extra"),
    [
        ("hf:x", "transformers", "hf"),
        ("timm:x", "timm", "timm"),
        ("torchvision:x", "torchvision.models", "torchvision"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, spec: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'ddrs\[{extra}\]'"):
        models.load(spec)


# timm and torchvision, by stand-ins with the signatures of the packages' documentation: they show
# that the wrapper normalises and passes its arguments on, not that the packages still work so.


def head(num_classes: int) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes))
    model.num_classes = num_classes
    model.pretrained_cfg = {"fixed_input_size": True}
    return model


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def create_model(name: str, pretrained: bool = False, num_classes: int = 6) -> nn.Module:
        calls.append((name, pretrained))
        return head(num_classes)

    def get_model(name: str, weights: Any = None, num_classes: int = 6) -> nn.Module:
        calls.append((name, weights))
        return head(num_classes)

    def resolve_model_data_config(model: nn.Module) -> dict[str, Any]:
        return {"input_size": (3, 2, 2), "mean": tuple(MEAN), "std": tuple(STD)}

    trained = SimpleNamespace(
        meta={"categories": list("abcdef")},
        transforms=lambda: SimpleNamespace(mean=MEAN, std=STD),
    )
    calls.append(trained)
    timm = ModuleType("timm")
    timm.create_model = create_model
    timm.data = SimpleNamespace(resolve_model_data_config=resolve_model_data_config)
    torchvision, tv_models = ModuleType("torchvision"), ModuleType("torchvision.models")
    torchvision.models = tv_models
    tv_models.get_model = get_model
    tv_models.get_model_weights = lambda name: SimpleNamespace(DEFAULT=trained)
    for module in (timm, torchvision, tv_models):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.mark.parametrize(("form", "shape"), [("timm", (3, 2, 2)), ("torchvision", None)])
def test_networks_of_other_packages(
    stand_ins: list[Any], tmp_path: Path, form: str, shape: tuple[int, ...] | None
) -> None:
    x = torch.rand(4, 3, 2, 2)
    loaded = models.load(f"{form}:net", num_classes=99)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(x), head(6)(normalised(x)))
    assert (loaded.num_classes, loaded.input_shape) == (6, shape)
    assert loaded.classes == (tuple("abcdef") if form == "torchvision" else None)
    assert stand_ins[1] == ("net", True if form == "timm" else stand_ins[0])

    other = head(4)
    nn.init.ones_(other[1].weight)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    loaded = models.load(f"{form}:net", tmp_path / "w.pt", num_classes=99)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(x), other(normalised(x)))
    assert (loaded.num_classes, loaded.classes) == (4, None)
    assert stand_ins[2] == ("net", False if form == "timm" else None)


CODE = """
from transformers import PretrainedConfig, ViTForImageClassification
from pathlib import Path
Path("RAN").write_text("")
class Config(PretrainedConfig):
    model_type = "strange"
class Model(ViTForImageClassification):
    config_class = Config
"""


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that comes with code of its own, and a `y` on standard input."""
    save(tiny_vit(), tmp_path / "m", PROCESSOR)
    file = tmp_path / "m" / "config.json"
    auto = {"AutoConfig": "code.Config", "AutoModelForImageClassification": "code.Model"}
    config = json.loads(file.read_text()) | {"model_type": "strange", "auto_map": auto}
    file.write_text(json.dumps(config))
    (tmp_path / "m" / "code.py").write_text(CODE.replace("RAN", str(tmp_path / "ran")))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    return tmp_path / "m"


def test_code_that_comes_with_a_model_is_not_run(strange: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", arch="hf")
    shutil.copytree(strange, run / "architecture")
    spec = f"hf:{strange}"
    for load in (
        lambda: models.load(spec),
        lambda: models.load(str(run)),
        lambda: models.start(None, spec, num_classes=4, partial=True),
    ):
        with pytest.raises(DDRSError, match="such code is never run") as caught:
            load()
        assert "trust_remote_code" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_pipe_among_the_files_of_a_model_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    (tmp_path / "m" / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "m" / "model.safetensors")
    with pytest.raises(WeightsError, match="pipe, device or socket"):
        models.load(spec)
