"""A classifier that a function of the user's makes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from ddrs.errors import ConfigurationError, ModelError, one_line
from ddrs.models.loaded import LoadedModel
from ddrs.models.weights import PathLike, load_weights

__all__ = [
    "from_factory",
]


def from_factory(name: str, weights: PathLike | None, num_classes: int | None) -> LoadedModel:
    """`package.module:function` -> the module that the function returns."""
    package, _, attribute = name.partition(":")
    if not all(package.split(".")) or not attribute:
        raise ConfigurationError(f"py:{name} is incomplete: write py:package.module:factory")
    with _current_directory():
        try:
            factory = getattr(importlib.import_module(package), attribute, None)
        except ImportError as error:
            raise ConfigurationError(f"cannot import {package}: {one_line(error)}") from error
        if not callable(factory):
            raise ConfigurationError(f"{package} has no function {attribute}")
        module = factory()
    if not isinstance(module, nn.Module):
        raise ModelError(f"py:{name} returned {type(module).__name__}, not a torch.nn.Module")
    if weights is not None:
        load_weights(module, weights)
    return LoadedModel(module, num_classes)


@contextmanager
def _current_directory() -> Iterator[None]:
    """Let modules of the current directory be imported, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
