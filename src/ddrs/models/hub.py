"""Classifiers of other packages: `transformers`, `timm` and `torchvision`, each if installed."""

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ddrs.errors import MissingDependencyError, ModelError, WeightsError, one_line
from ddrs.files import check_file
from ddrs.models.loaded import LoadedModel
from ddrs.models.preprocessing import Preprocessed, read_settings
from ddrs.models.weights import (
    Fit,
    PathLike,
    compare,
    first_few,
    load_weights,
    read_weights,
    shapes,
)
from ddrs.networks.architectures import Normalize
from ddrs.online import hub

__all__ = [
    "NO_CODE",
    "from_timm",
    "from_torchvision",
    "from_transformers",
    "optional",
    "quiet",
    "start_from_transformers",
]

# Else `transformers` asks, on standard input, whether to run code that comes with a model.
NO_CODE = {"trust_remote_code": False}


def from_transformers(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """An image classifier of `transformers` behind its image processor."""
    transformers = optional("transformers", "hf")
    source = _source(name)
    with _fetching(f"hf:{name}", source):
        settings = read_settings(source)
        model, report = transformers.AutoModelForImageClassification.from_pretrained(
            source, output_loading_info=True, **NO_CODE
        )
    fresh = [k for k in report["missing_keys"] if not k.endswith("num_batches_tracked")]
    if fresh and weights is None:  # only a warning there, but its outputs would be random
        raise WeightsError(f"hf:{name} holds no trained weights for {first_few(sorted(fresh))}")
    if weights is not None:
        load_weights(model, weights)
    module = Preprocessed(model.float(), settings)
    names = tuple(str(model.config.id2label.get(i, "")) for i in range(model.config.num_labels))
    unnamed = all(re.fullmatch(r"LABEL_\d+|", name) for name in names)
    return LoadedModel(module, len(names), None if unnamed else names)


def start_from_transformers(name: str, num_classes: int) -> tuple[Preprocessed, Fit]:
    """An image classifier of `transformers` with `num_classes` outputs, whatever it had before.

    What does not fit is random, in the way of that network; the `Fit` says what that is.
    """
    transformers = optional("transformers", "hf")
    source = _source(name)
    with quiet(transformers), _fetching(f"hf:{name}", source):
        settings = read_settings(source)
        model, report = transformers.AutoModelForImageClassification.from_pretrained(
            source,
            num_labels=num_classes,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **NO_CODE,
        )
    own = shapes(model.state_dict())
    given = {key: shape for key, shape in own.items() if key not in report["missing_keys"]}
    given |= {key: tuple(shape) for key, shape, _ in report["mismatched_keys"]}
    given |= dict.fromkeys(sorted(report["unexpected_keys"]), ())
    return Preprocessed(model.float(), settings), compare(own, given)


def from_timm(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """A network of `timm` behind its normalisation."""
    timm = optional("timm", "timm")
    if weights is None:
        with hub(f"timm:{name}", ModelError):
            model = timm.create_model(name, pretrained=True)
    else:
        model = _filled(partial(timm.create_model, name, pretrained=False), weights)[0]
    settings = timm.data.resolve_model_data_config(model)
    fixed = model.pretrained_cfg.get("fixed_input_size", False)
    return LoadedModel(
        nn.Sequential(Normalize(settings["mean"], settings["std"]), model),
        model.num_classes,
        input_shape=tuple(settings["input_size"]) if fixed else None,
    )


def from_torchvision(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """A network of `torchvision` behind its normalisation."""
    models = optional("torchvision.models", "torchvision")
    trained = models.get_model_weights(name).DEFAULT
    names = tuple(trained.meta["categories"]) if weights is None else None
    classes = len(trained.meta["categories"])
    if weights is None:
        model = models.get_model(name, weights=trained)
    else:
        model, classes = _filled(partial(models.get_model, name, weights=None), weights, classes)
    settings = trained.transforms()
    module = nn.Sequential(Normalize(settings.mean, settings.std), model)
    return LoadedModel(module, classes, names)


def _filled(
    make: Callable[..., Any], weights: PathLike, classes: int | None = None
) -> tuple[nn.Module, int]:
    """A network with the weights of a file, and its number of classes, which is the file's.

    Args:
        make: makes the network, with another number of classes if it is given `num_classes`.
        weights: the file.
        classes: how many it has of itself; by default what its `num_classes` says.
    """
    model = make()
    classes = int(model.num_classes) if classes is None else classes
    own, given = shapes(model.state_dict()), shapes(read_weights(model, weights))
    heads = {
        given[key][0]
        for key, shape in own.items()
        if given.get(key, shape) != shape and (shape[0], given[key][1:]) == (classes, shape[1:])
    }
    if len(heads) == 1:
        (classes,) = heads
        model = make(num_classes=classes)
    load_weights(model, weights)
    return model, classes


def _fetching(spec: str, source: str) -> AbstractContextManager[None]:
    """For a model that is not in a directory: what to do where the hub cannot be reached."""
    return nullcontext() if Path(source).is_dir() else hub(spec, ModelError)


def _source(name: str) -> str:
    """The directory of that name, or else the name of a model on the hub.

    Raises:
        WeightsError: something in the directory is no file.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        return name
    try:
        for file in path.iterdir():
            check_file(file)
    except OSError as error:
        raise WeightsError(f"hf:{name}: {error.filename}: {error.strerror}") from error
    return str(path)


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep `transformers` from listing what does not fit: whoever asked gets it from us."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


def optional(package: str, extra: str) -> Any:
    """Import a package that comes with an extra of ours.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{package} cannot be imported ({one_line(error)}): pip install 'ddrs[{extra}]'"
        ) from error
