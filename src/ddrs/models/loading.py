"""From a spec to the classifier that it names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ddrs.errors import ConfigurationError, DDRSError, ModelError, one_line
from ddrs.models.factory import from_factory
from ddrs.models.hub import from_timm, from_torchvision, from_transformers
from ddrs.models.loaded import LoadedModel, from_architecture
from ddrs.models.run import from_run
from ddrs.models.weights import PathLike, read_state
from ddrs.networks.architectures import ARCHITECTURES
from ddrs.networks.frozen import to_eval

__all__ = [
    "load",
    "making",
]

FORMS = "a directory made by ddrs train, hf:NAME, timm:NAME, torchvision:NAME, py:MODULE:FACTORY"

_LOADERS: dict[str, Callable[[str, PathLike | None, int | None], LoadedModel]] = {
    "hf": from_transformers,
    "timm": from_timm,
    "torchvision": from_torchvision,
    "py": from_factory,
}


def load(spec: str, weights: PathLike | None = None, num_classes: int | None = None) -> LoadedModel:
    """Load a classifier by its spec.

    - A directory made by `ddrs train`.
    - `hf:NAME`: an image classifier of `transformers`, from the hub or a directory. Its
      `preprocessor_config.json` sets the size, mean and standard deviation; without that file the
      network sees the pixels as they are.
    - `timm:NAME`, `torchvision:NAME`: a network of these packages behind its own normalisation.
    - `py:package.module:factory`: what `factory()` returns; the current directory is importable.
    - A name in `architectures.ARCHITECTURES`, with `weights`.

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
        with making(spec):
            loaded = _LOADERS[form](name, weights, num_classes)
    elif spec in ARCHITECTURES:
        if weights is None:
            raise ConfigurationError(f"{spec} comes without weights: give a weights file")
        biases = [
            len(value)
            for key, value in read_state(Path(weights).expanduser()).items()
            if key.endswith("linear.bias")
        ]
        loaded = from_architecture(spec, weights, biases[0] if len(biases) == 1 else 10)
    elif spec and Path(spec).expanduser().is_dir():
        loaded = from_run(Path(spec).expanduser(), weights)
    else:
        raise ConfigurationError(
            f"unknown model {spec!r}: use one of {FORMS}, {', '.join(ARCHITECTURES)}"
        )
    to_eval(loaded.module)
    return replace(loaded, source=spec)


@contextmanager
def making(spec: str) -> Iterator[None]:
    """Give whatever a package or the user's code raises one error that names the model."""
    try:
        yield
    except DDRSError:
        raise
    except Exception as error:
        message = f"{spec} cannot be loaded: {type(error).__name__}: {one_line(error)}"
        raise ModelError(message) from error
