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
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddrs.architectures import ARCHITECTURES, Normalize, build
from ddrs.errors import (
    ConfigurationError,
    MissingDependencyError,
    ModelError,
    RunError,
    WeightsError,
)

__all__ = ["LoadedModel", "RunConfig", "load", "load_weights", "read_run_config"]

FORMS = (
    "a run directory, hf:NAME_OR_DIR, timm:NAME, torchvision:NAME, py:package.module:factory, or "
    + ", ".join(ARCHITECTURES)
)
PathLike = str | Path


@dataclass(frozen=True)
class LoadedModel:
    """A classifier in eval mode, and what is known about it.

    Attributes:
        module: maps `[batch, *shape]` floats in [0, 1] to logits `[batch, num_classes]`.
        num_classes: length of the output, where it is known.
        sigma: scale of the noise that the model was trained with, where it is known.
        noise: `"gaussian"` or `"uniform"`: the noise that `sigma` belongs to.
        input_shape: the one shape that an input must have, where there is one.
        source: the spec that it was loaded from.
    """

    module: nn.Module
    num_classes: int | None
    sigma: float | None
    noise: str | None
    input_shape: tuple[int, ...] | None
    source: str


@dataclass(frozen=True)
class RunConfig:
    """What the `config.json` of a training run says about its model.

    Attributes:
        arch: the architecture, a name or a `py:` spec.
        num_classes: length of the output.
        input_shape: shape of one input.
        sigma: scale of the noise it was trained with.
        noise: `"gaussian"` or `"uniform"`.
    """

    arch: str
    num_classes: int
    input_shape: tuple[int, ...]
    sigma: float
    noise: str


def load(
    spec: str, weights: PathLike | None = None, num_classes: int | None = None
) -> LoadedModel:
    """Load a classifier by its spec.

    - a directory written by `ddrs train`.
    - `hf:NAME_OR_DIR`: an image classifier of `transformers`. Its `preprocessor_config.json` sets
      size, mean and standard deviation; without that file the network sees the pixels as they are.
    - `timm:NAME`, `torchvision:NAME`: a network of these packages with its own normalisation.
    - `py:package.module:factory`: what `factory()` returns; the current directory is importable.
    - a name in `ddrs.architectures.ARCHITECTURES`, with `weights`.

    Args:
        spec: one of the forms above.
        weights: a file for `load_weights`, in place of the weights the model comes with.
        num_classes: length of the output, for a model that does not tell it.

    Raises:
        ConfigurationError: the spec has no known form, or names something that does not exist.
        MissingDependencyError: the package that the form needs is not installed.
        ModelError: the model cannot be made or read.
        RunError: the run directory is incomplete or damaged.
        WeightsError: the weights cannot be read, or do not fit.
    """
    form, _, name = spec.partition(":")
    if form in _LOADERS and name:
        loaded = _LOADERS[form](name, weights, num_classes)
    elif spec in ARCHITECTURES:
        if weights is None:
            raise ConfigurationError(f"{spec} has no weights of its own: give a weights file")
        module = build(spec) if num_classes is None else build(spec, num_classes)
        loaded = _loaded(load_weights(module, weights), num_classes or 10)
    elif Path(spec).expanduser().is_dir():
        loaded = _load_run(Path(spec).expanduser(), weights)
    else:
        raise ConfigurationError(f"unknown model {spec!r}: use {FORMS}")
    loaded.module.eval()
    return replace(loaded, source=spec)
