"""The model that a training run made: its configuration, and its weights."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from ddrs.errors import RunError, one_line
from ddrs.models.loaded import LoadedModel, from_architecture
from ddrs.models.weights import PathLike


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
        raise RunError(f"{file} is damaged: {one_line(error)}") from error
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
        raise RunError(f"{file} is damaged: bad or missing value: {one_line(error)}") from error
    known = run.noise in ("gaussian", "uniform") and run.num_classes > 0
    if not (known and math.isfinite(run.sigma) and run.sigma >= 0):
        raise RunError(f"{file} is damaged: {run}")
    return run


def from_run(path: Path, weights: PathLike | None) -> LoadedModel:
    """The network of a training run, with its own weights or those of another file."""
    run = read_run_config(path)
    file = path / "weights.safetensors" if weights is None else weights
    loaded = from_architecture(run.arch, file, run.num_classes)
    return replace(loaded, sigma=run.sigma, noise=run.noise, input_shape=run.input_shape)
