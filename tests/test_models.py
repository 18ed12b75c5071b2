import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from ddrs import architectures, models
from ddrs.errors import (
    ConfigurationError,
    MissingDependencyError,
    ModelError,
    RunError,
    WeightsError,
)

RUN = {
    "kind": "train",
    "arch": "digits-cnn",
    "num_classes": 4,
    "input_shape": [1, 8, 8],
    "sigma": 0.25,
    "noise": "gaussian",
}


def trained(num_classes: int = 4, seed: int = 1) -> nn.Module:
    """A network with weights and statistics of its own."""
    torch.manual_seed(seed)
    module = architectures.digits_cnn(num_classes)
    with torch.no_grad():
        module(torch.rand(16, 1, 8, 8))
    return module.eval()


def assert_same(module: nn.Module, other: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> None:
    x = torch.rand(5, *shape)
    with torch.no_grad():
        assert torch.equal(module(x), other(x))


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_unchanged(module: nn.Module, before: dict[str, Tensor]) -> None:
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def write_run(path: Path, **changes: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(RUN | changes))
    save_file(trained().state_dict(), path / "weights.safetensors")
    return path


# Weights.


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.bin"])
def test_weights_of_every_kind(tmp_path: Path, name: str) -> None:
    source, module = trained(), trained(seed=2)
    state = source.state_dict()
    state["features.1.num_batches_tracked"].fill_(7)
    save_file(state, tmp_path / name) if "safe" in name else torch.save(state, tmp_path / name)
    models.load_weights(module, tmp_path / name)
    assert_unchanged(module, state)
    assert_same(module.eval(), source)


def test_weights_of_training_scripts(tmp_path: Path) -> None:
    source, module = trained(), trained(seed=2)
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pt")
    models.load_weights(module, str(tmp_path / "w.pt"))
    assert_same(module.eval(), source)
    wrapped = nn.DataParallel(trained(seed=2)).eval()  # where the prefix belongs to the keys
    models.load_weights(wrapped, tmp_path / "w.pt")
    assert_same(wrapped, source)


def test_only_the_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    source, module = trained(), trained(seed=2)
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    assert len(state) < len(source.state_dict())
    save_file(state, tmp_path / "w.safetensors")
    models.load_weights(module, tmp_path / "w.safetensors")
    assert_same(module.eval(), source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("linear.bias"), "missing linear.bias$"),
        (lambda s: s.pop("features.1.running_mean"), "missing features.1.running_mean$"),
        (lambda s: s.update(extra=torch.ones(1)), "unexpected extra$"),
        (lambda s: s.clear(), r"missing features.0.weight, .*, .* and \d+ more$"),
        (
            lambda s: s.update({"linear.bias": torch.ones(7)}),
            r"wrong shape linear.bias \(7,\) for \(4,\)$",
        ),
        (
            lambda s: s.update({"fc.bias": s.pop("linear.bias")}),
            "missing linear.bias; unexpected fc.bias$",
        ),
    ],
)
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, change: Any, message: str) -> None:
    state, module = trained().state_dict(), trained(seed=2)
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    before = copy_of(module)
    with pytest.raises(WeightsError, match=message):
        models.load_weights(module, tmp_path / "w.safetensors")
    assert_unchanged(module, before)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("length", [0, 7, 500, -9])
def test_damaged_weights_change_nothing(tmp_path: Path, name: str, length: int) -> None:
    state, module, file = trained().state_dict(), trained(seed=2), tmp_path / name
    save_file(state, file) if "safe" in name else torch.save(state, file)
    file.write_bytes(file.read_bytes()[:length])
    before = copy_of(module)
    with pytest.raises(WeightsError, match=r"w\.(pt|safetensors) cannot be read"):
        models.load_weights(module, file)
    assert_unchanged(module, before)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_weights_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"linear.bias": Evil()}, "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt cannot be read"):
        models.load_weights(trained(), "w.pt")
    assert not Path("evil").exists()


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.pt: check the path"):
        models.load_weights(trained(), tmp_path / "absent.pt")
    with pytest.raises(WeightsError, match=r"no weights file at .*absent\.safetensors: check"):
        models.load_weights(trained(), tmp_path / "absent.safetensors")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"weights are \.safetensors, \.pt, \.pth or \.bin"):
        models.load_weights(trained(), tmp_path / "w.h5")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="holds no state dict"):
        models.load_weights(trained(), tmp_path / "list.pt")


# Training runs and architectures.


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


def test_an_architecture_by_name(tmp_path: Path) -> None:
    save_file(trained(10).state_dict(), tmp_path / "ten.safetensors")
    save_file(trained(4).state_dict(), tmp_path / "four.safetensors")
    ten = models.load("digits-cnn", tmp_path / "ten.safetensors")
    four = models.load("digits-cnn", tmp_path / "four.safetensors", num_classes=3)
    assert_same(ten.module, trained(10))
    assert_same(four.module, trained(4))
    assert (ten.num_classes, four.num_classes, four.sigma) == (10, 4, None)
    with pytest.raises(WeightsError, match=r"missing"):
        models.load("resnet20", tmp_path / "four.safetensors")
    with pytest.raises(ConfigurationError, match="give a weights file"):
        models.load("digits-cnn")


@pytest.mark.parametrize("spec", ["resnet21", "hf:", "keras:x", "", "no/such/run"])
def test_an_unknown_spec_gets_the_known_ones(spec: str) -> None:
    with pytest.raises(ConfigurationError, match=r"hf:NAME, timm:NAME, .* digits-cnn, resnet20"):
        models.load(spec)


# Factories.

FACTORIES = """
from torch import nn
number = 3
def good():
    from ddrs.architectures import digits_cnn
    return digits_cnn(4)
def bad():
    raise KeyError("no such\\nthing")
def none():
    return None
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A directory to stand in with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users_models.py").write_text(FACTORIES)
    (tmp_path / "users_broken.py").write_text("import no_such_package")
    (tmp_path / "users_typo.py").write_text("def f(:")
    yield
    for name in [n for n in sys.modules if n.startswith("users_")]:
        del sys.modules[name]


def test_a_factory_of_the_current_directory(package: Any, tmp_path: Path) -> None:
    save_file(trained().state_dict(), tmp_path / "w.safetensors")
    path = list(sys.path)
    loaded = models.load("py:users_models:good", "w.safetensors", num_classes=4)
    assert_same(loaded.module, trained())
    assert not loaded.module.training
    assert (loaded.num_classes, loaded.sigma, loaded.input_shape) == (4, None, None)
    assert models.load("py:users_models:good").num_classes is None
    assert sys.path == path


def test_a_factory_of_an_installed_package() -> None:
    module = models.load("py:ddrs.architectures:resnet20").module
    assert isinstance(module, architectures.CifarResNet)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("users_models", ConfigurationError, "incomplete: write py:package.module:factory"),
        ("users_models:", ConfigurationError, "incomplete"),
        ("users_absent:f", ConfigurationError, "cannot import users_absent: No module"),
        ("users_broken:f", ConfigurationError, "cannot import users_broken: .*no_such_package"),
        ("users_typo:f", ModelError, "py:users_typo:f cannot be loaded: SyntaxError"),
        ("users_models:f", ConfigurationError, "users_models has no function f"),
        ("users_models:number", ConfigurationError, "users_models has no function number"),
        ("users_models:none", ModelError, "returned NoneType, not a torch.nn.Module"),
        ("users_models:bad", ModelError, r"cannot be loaded: KeyError: 'no such\\nthing'"),
    ],
)
def test_a_factory_that_fails(package: Any, name: str, error: type, message: str) -> None:
    path = list(sys.path)
    with pytest.raises(error, match=message):
        models.load(f"py:{name}")
    assert sys.path == path


# Hugging Face.

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
PROCESSOR = {
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_resize": True,
    "size": {"height": 8, "width": 8},
}


def tiny_vit() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=5,
        initializer_range=0.5,
    )
    return transformers.ViTForImageClassification(config).eval()


def tiny_resnet() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3
    )
    model = transformers.ResNetForImageClassification(config)
    model(torch.rand(8, 3, 16, 16))  # in train mode: statistics of its own
    return model.eval()


def save(model: nn.Module, path: Path, settings: dict[str, Any] | None) -> str:
    model.save_pretrained(path)
    if settings is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return f"hf:{path}"


def logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(pixel_values=x).logits


def normalised(x: Tensor, scale: float = 1.0) -> Tensor:
    return torch.stack([(scale * x[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)


def assert_gives(spec: str, x: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(models.load(spec).module(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [tiny_vit, tiny_resnet])
def test_hf_classifier_sees_normalised_pixels(tmp_path: Path, make: Any) -> None:
    model, x = make(), torch.rand(4, 3, 8, 8)
    spec = save(model, tmp_path / "m", PROCESSOR)
    assert_gives(spec, x, logits(model, normalised(x)))
    loaded = models.load(spec, num_classes=99)
    assert loaded.num_classes == model.config.num_labels
    assert not loaded.module.training
    assert_unchanged(loaded.module.model, model.state_dict())
    assert (logits(model, normalised(x)) - logits(model, x)).abs().max() > 0.01  # it matters


def test_hf_classifier_without_a_processor_sees_the_pixels(tmp_path: Path) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, 8, 8)
    assert_gives(save(model, tmp_path / "m", None), x, logits(model, x))


@pytest.mark.parametrize(
    ("changes", "scale", "normal"),
    [
        ({"rescale_factor": 1 / 127.5}, 2.0, True),
        ({"do_rescale": False}, 255.0, True),
        ({"do_normalize": False}, 1.0, False),
        ({"do_normalize": None}, 1.0, True),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, 2.0, False),
    ],
)
def test_hf_processor_scales(tmp_path: Path, changes: Any, scale: float, normal: bool) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, 8, 8)
    settings = {k: v for k, v in (PROCESSOR | changes).items() if v is not None}
    spec = save(model, tmp_path / "m", settings)
    assert_gives(spec, x, logits(model, normalised(x, scale) if normal else scale * x))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": 8},
        {"do_center_crop": False, "crop_size": 4},
        {"size": {"shortest_edge": 8}},
        {"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 8},
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}},
    ],
)
@pytest.mark.parametrize("shape", [(8, 8), (4, 4), (16, 12)])
def test_hf_input_of_another_size_is_resized(
    tmp_path: Path, changes: Any, shape: tuple[int, int]
) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, *shape)
    spec = save(model, tmp_path / "m", PROCESSOR | changes)
    resized = F.interpolate(x, (8, 8), mode="bilinear", antialias=True)
    assert_gives(spec, x, logits(model, normalised(resized)))


def test_hf_processor_is_part_of_the_buffers(tmp_path: Path) -> None:
    """Memory and certificates tell classifiers apart by their parameters and buffers."""
    model, seen = tiny_resnet(), []
    for i, changes in enumerate([{}, {"size": 9}, {"do_resize": False}, {"image_mean": STD}]):
        spec = save(model, tmp_path / f"m{i}", PROCESSOR | changes)
        buffers = dict(models.load(spec).module.named_buffers())
        seen.append(str({k: v.flatten().tolist() for k, v in buffers.items()}))
    assert len(set(seen)) == 4


def test_hf_classifier_with_half_precision_weights_takes_floats(tmp_path: Path) -> None:
    spec = save(tiny_vit().bfloat16(), tmp_path / "m", PROCESSOR)
    assert models.load(spec).module(torch.rand(1, 3, 8, 8)).dtype == torch.float32


def test_hf_classifier_passes_gradients_to_its_input(tmp_path: Path) -> None:
    module = models.load(save(tiny_vit(), tmp_path / "m", PROCESSOR)).module
    x = torch.rand(2, 3, 12, 12, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


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
    assert stand_ins[1] == ("net", True if form == "timm" else stand_ins[0])

    other = head(4)
    nn.init.ones_(other[1].weight)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    loaded = models.load(f"{form}:net", tmp_path / "w.pt", num_classes=4)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(x), other(normalised(x)))
    assert loaded.num_classes == 4
    assert stand_ins[2] == ("net", False if form == "timm" else None)
