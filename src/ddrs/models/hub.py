"""Classifiers of other packages: `transformers`, `timm` and `torchvision`, each if installed."""

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from ddrs.architectures import Normalize
from ddrs.errors import MissingDependencyError, WeightsError, one_line
from ddrs.models.loaded import LoadedModel
from ddrs.models.preprocessing import Preprocessed, read_settings
from ddrs.models.weights import PathLike, first_few, load_weights


def from_transformers(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """An image classifier of `transformers` behind its image processor."""
    transformers = _optional("transformers", "hf")
    path = Path(name).expanduser()
    source = str(path) if path.is_dir() else name
    model, report = transformers.AutoModelForImageClassification.from_pretrained(
        source, output_loading_info=True
    )
    fresh = [k for k in report["missing_keys"] if not k.endswith("num_batches_tracked")]
    if fresh and weights is None:  # only a warning there, but its outputs would be random
        raise WeightsError(f"hf:{name} holds no trained weights for {first_few(sorted(fresh))}")
    if weights is not None:
        load_weights(model, weights)
    module = Preprocessed(model.float(), read_settings(source))
    return LoadedModel(module, model.config.num_labels)


def from_timm(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """A network of `timm` behind its normalisation."""
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


def from_torchvision(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """A network of `torchvision` behind its normalisation."""
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


def _optional(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{package} cannot be imported ({one_line(error)}): pip install 'ddrs[{extra}]'"
        ) from error
