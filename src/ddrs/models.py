"""Classifiers by name: every one takes pixels in [0, 1] and returns logits.

Normalisation, and resizing where a network has a fixed input size, happen inside the module, so
that noise and radii keep the units of the input.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddrs.architectures import ARCHITECTURES, Normalize, build
from ddrs.errors import (
    ConfigurationError,
    DDRSError,
    MissingDependencyError,
    ModelError,
    RunError,
    WeightsError,
)

__all__ = ["LoadedModel", "RunConfig", "load", "load_weights", "read_run_config"]

PathLike = str | Path

FORMS = "a directory made by ddrs train, hf:NAME, timm:NAME, torchvision:NAME, py:MODULE:FACTORY"
SHOWN_KEYS = 3  # of the keys that do not fit, in an error


@dataclass(frozen=True)
class LoadedModel:
    """A classifier in eval mode, and what is known about it.

    Attributes:
        module: maps `[batch, *shape]` floats in [0, 1] to logits `[batch, num_classes]`.
        num_classes: length of the output, where it is known.
        sigma: scale of the noise that the model was trained with, where it is known.
        noise: `"gaussian"` or `"uniform"`, the noise that `sigma` belongs to.
        input_shape: the shape that inputs must have, where there is only one.
        source: the spec that it was loaded from.
    """

    module: nn.Module
    num_classes: int | None = None
    sigma: float | None = None
    noise: str | None = None
    input_shape: tuple[int, ...] | None = None
    source: str = ""


@dataclass(frozen=True)
class RunConfig:
    """What the `config.json` of a training run says about the model it made.

    Attributes:
        arch: a key of `ddrs.architectures.ARCHITECTURES`.
        num_classes: length of the output.
        input_shape: shape of one input.
        sigma: scale of the noise that it was trained with.
        noise: `"gaussian"` or `"uniform"`.
    """

    arch: str
    num_classes: int
    input_shape: tuple[int, ...]
    sigma: float
    noise: str


def load(spec: str, weights: PathLike | None = None, num_classes: int | None = None) -> LoadedModel:
    """Load a classifier by its spec.

    - A directory made by `ddrs train`.
    - `hf:NAME`: an image classifier of `transformers`, from the hub or a directory. Its
      `preprocessor_config.json` sets the size, mean and standard deviation; without that file the
      network sees the pixels as they are.
    - `timm:NAME`, `torchvision:NAME`: a network of these packages behind its own normalisation.
    - `py:package.module:factory`: what `factory()` returns; the current directory is importable.
    - A name in `ddrs.architectures.ARCHITECTURES`, with `weights`.

    Args:
        spec: one of the forms above.
        weights: a file for `load_weights`, in place of the weights that the model comes with.
        num_classes: length of the output, for a model that does not tell.

    Raises:
        ConfigurationError: the spec has no known form, or names something that does not exist.
        MissingDependencyError: the package that the form needs is not installed.
        ModelError: the model cannot be made.
        RunError: the run directory is incomplete or damaged.
        WeightsError: the weights cannot be read, or do not fit.
    """
    form, _, name = spec.partition(":")
    if form in _LOADERS and name:
        with _making(spec):
            loaded = _LOADERS[form](name, weights, num_classes)
    elif spec in ARCHITECTURES:
        if weights is None:
            raise ConfigurationError(f"{spec} comes without weights: give a weights file")
        biases = _read_state(Path(weights).expanduser()).get("linear.bias")
        loaded = _architecture(spec, weights, 10 if biases is None else len(biases))
    elif spec and Path(spec).expanduser().is_dir():
        loaded = _run(Path(spec).expanduser(), weights)
    else:
        raise ConfigurationError(
            f"unknown model {spec!r}: use one of {FORMS}, {', '.join(ARCHITECTURES)}"
        )
    loaded.module.eval()
    return replace(loaded, source=spec)


def load_weights(module: nn.Module, path: PathLike) -> None:
    """Copy the weights of a file into a module, which stays as it was when they do not fit.

    Every key must be there with the module's shape, and no other; only `num_batches_tracked` of
    batch normalisation, which no prediction uses, may be missing.

    Args:
        module: the module to fill, in place.
        path: `.safetensors`, or a `.pt`, `.pth` or `.bin` file of `torch.save` that holds a state
            dict, bare or under `state_dict`, with or without the `module.` of `DataParallel`.

    Raises:
        WeightsError: the file is missing or damaged, or its keys or shapes are not the module's.
    """
    own = module.state_dict()
    given = _read_state(Path(path).expanduser())
    if all(key.startswith("module.") for key in given) and not set(given) & set(own):
        given = {key.removeprefix("module."): value for key, value in given.items()}
    counters = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
    given = counters | given
    faults = {
        "missing": [key for key in own if key not in given],
        "unexpected": [key for key in given if key not in own],
        "wrong shape": [
            f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
            for key, value in own.items()
            if key in given and given[key].shape != value.shape
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault} {_some(keys)}" for fault, keys in faults.items() if keys)
        raise WeightsError(f"{path} does not fit the model: {listed}")
    module.load_state_dict(given)


def read_run_config(path: PathLike) -> RunConfig:
    """Read the `config.json` of a training run.

    Args:
        path: the run directory.

    Raises:
        RunError: the file is missing, damaged, or not of a training run.
    """
    file = Path(path).expanduser() / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} has no config.json: give a directory of ddrs train") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is damaged: {_line(error)}") from error
    if not isinstance(config, dict) or config.get("kind") != "train":
        raise RunError(f"{file} is not of a training run: give a directory of ddrs train")
    try:
        run = RunConfig(
            arch=str(config["arch"]),
            num_classes=int(config["num_classes"]),
            input_shape=tuple(int(length) for length in config["input_shape"]),
            sigma=float(config["sigma"]),
            noise=str(config["noise"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: bad or missing value: {_line(error)}") from error
    known = run.noise in ("gaussian", "uniform") and run.num_classes > 0
    if not (known and math.isfinite(run.sigma) and run.sigma >= 0):
        raise RunError(f"{file} is damaged: {run}")
    return run


def _run(path: Path, weights: PathLike | None) -> LoadedModel:
    run = read_run_config(path)
    file = path / "weights.safetensors" if weights is None else weights
    loaded = _architecture(run.arch, file, run.num_classes)
    return replace(loaded, sigma=run.sigma, noise=run.noise, input_shape=run.input_shape)


def _architecture(name: str, weights: PathLike, num_classes: int) -> LoadedModel:
    module = build(name, num_classes)
    load_weights(module, weights)
    return LoadedModel(module, num_classes)


def _factory(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    package, _, attribute = name.partition(":")
    if not package or not attribute:
        raise ConfigurationError(f"py:{name} is incomplete: write py:package.module:factory")
    with _current_directory():
        try:
            factory = getattr(importlib.import_module(package), attribute, None)
        except ImportError as error:
            raise ConfigurationError(f"cannot import {package}: {_line(error)}") from error
        if not callable(factory):
            raise ConfigurationError(f"{package} has no function {attribute}")
        module = factory()
    if not isinstance(module, nn.Module):
        raise ModelError(f"py:{name} returned {type(module).__name__}, not a torch.nn.Module")
    if weights is not None:
        load_weights(module, weights)
    return LoadedModel(module, num_classes)


def _transformers(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    transformers = _optional("transformers", "hf")
    path = Path(name).expanduser()
    source = str(path) if path.is_dir() else name
    model, report = transformers.AutoModelForImageClassification.from_pretrained(
        source, output_loading_info=True
    )
    fresh = [k for k in report["missing_keys"] if not k.endswith("num_batches_tracked")]
    if fresh and weights is None:  # only a warning there, but its outputs would be random
        raise WeightsError(f"hf:{name} holds no trained weights for {_some(sorted(fresh))}")
    if weights is not None:
        load_weights(model, weights)
    module = _Preprocessed(model.float(), _preprocessor(source))
    return LoadedModel(module, model.config.num_labels)


def _preprocessor(source: str) -> Mapping[str, Any]:
    """The image processor's settings; read here because its class may need torchvision."""
    file = Path(source) / "preprocessor_config.json"
    if not Path(source).is_dir():
        from huggingface_hub import errors, hf_hub_download

        try:
            file = Path(hf_hub_download(source, file.name))
        except errors.LocalEntryNotFoundError:  # offline: unknown, and a guess would be silent
            raise
        except errors.EntryNotFoundError:
            return {}
    if not file.exists():
        return {}
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return settings


class _Preprocessed(nn.Module):
    """A `transformers` classifier behind the resizing and scaling of its image processor.

    An input of another size than the network's is resized to it whole, without cropping.
    """

    def __init__(self, model: nn.Module, settings: Mapping[str, Any]) -> None:
        super().__init__()
        if settings.get("do_flip_channel_order"):
            raise ModelError("the model wants BGR images: wrap it in a py: factory that flips them")
        # The processor counts pixels in 0..255: pixels in [0, 1] arrive `scale` times as large.
        rescale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1
        scale = 255 * rescale if settings else 1.0
        mean, std = [0.0], [1.0]
        if settings.get("do_normalize", "image_mean" in settings):
            mean, std = settings["image_mean"], settings["image_std"]
        self.size = _network_size(settings)
        # As a buffer too: the size is part of what identifies the classifier.
        self.register_buffer("resized_to", torch.tensor(self.size or (0, 0)), persistent=False)
        self.normalize = Normalize([m / scale for m in mean], [s / scale for s in std])
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None and x.shape[-2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        logits: Tensor = self.model(pixel_values=self.normalize(x)).logits
        return logits


def _network_size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the processor hands on, if it changes the size at all."""
    if settings.get("do_center_crop") and "crop_size" in settings:
        size = settings["crop_size"]
    elif settings.get("do_resize") and "size" in settings:
        size = settings["size"]
    else:
        return None
    if isinstance(size, int):
        return size, size
    edge = size.get("shortest_edge")
    return int(size.get("height", edge)), int(size.get("width", edge))


def _timm(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    timm = _optional("timm", "timm")
    other = {} if weights is None or num_classes is None else {"num_classes": num_classes}
    model = timm.create_model(name, pretrained=weights is None, **other)
    if weights is not None:
        load_weights(model, weights)
    settings = timm.data.resolve_model_data_config(model)
    fixed = model.pretrained_cfg.get("fixed_input_size", False)
    return LoadedModel(
        nn.Sequential(Normalize(settings["mean"], settings["std"]), model),
        model.num_classes,
        input_shape=tuple(settings["input_size"]) if fixed else None,
    )


def _torchvision(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    models = _optional("torchvision.models", "torchvision")
    trained = models.get_model_weights(name).DEFAULT
    classes = len(trained.meta["categories"])
    if weights is None:
        model = models.get_model(name, weights=trained)
    else:
        classes = classes if num_classes is None else num_classes
        model = models.get_model(name, weights=None, num_classes=classes)
        load_weights(model, weights)
    settings = trained.transforms()
    return LoadedModel(nn.Sequential(Normalize(settings.mean, settings.std), model), classes)


_LOADERS: dict[str, Callable[[str, PathLike | None, int | None], LoadedModel]] = {
    "hf": _transformers,
    "timm": _timm,
    "torchvision": _torchvision,
    "py": _factory,
}


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        elif path.suffix in (".pt", ".pth", ".bin"):
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise WeightsError(f"{path}: weights are .safetensors, .pt, .pth or .bin files")
    except FileNotFoundError as error:
        raise WeightsError(f"no weights file at {path}: check the path") from error
    except DDRSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"{path} cannot be read: {_line(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: save module.state_dict()")
    return state


def _optional(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{package} cannot be imported ({_line(error)}): pip install 'ddrs[{extra}]'"
        ) from error


@contextmanager
def _current_directory() -> Iterator[None]:
    """Let modules of the current directory be imported, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


@contextmanager
def _making(spec: str) -> Iterator[None]:
    """Give whatever a package or the user's code raises one error that names the model."""
    try:
        yield
    except DDRSError:
        raise
    except Exception as error:
        message = f"{spec} cannot be loaded: {type(error).__name__}: {_line(error)}"
        raise ModelError(message) from error


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
