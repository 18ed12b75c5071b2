"""The model that a training run made: its configuration, its network, and its weights.

A network of `networks.architectures` is known by its name. One of `transformers` is described by
`architecture/`: its own configuration, and the settings of its image processor.
"""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ddrs.errors import DDRSError, RunError, one_line
from ddrs.files import cannot_write, check_file, clear_leftovers, made_beside, sync
from ddrs.models.hub import NO_CODE, optional, quiet
from ddrs.models.loaded import LoadedModel
from ddrs.models.preprocessing import SETTINGS_FILE, Preprocessed, read_settings
from ddrs.models.weights import PathLike, load_weights
from ddrs.networks.architectures import build
from ddrs.noise.distributions import NOISES
from ddrs.runs.decoding import decode
from ddrs.runs.directory import read_config
from ddrs.runs.files import CONFIG

__all__ = [
    "ARCHITECTURE_FOLDER",
    "HF",
    "WEIGHTS_FILE",
    "RunConfig",
    "from_run",
    "network",
    "read_run_config",
    "save_architecture",
]

HF = "hf"  # the architecture of a run whose network is one of `transformers`
NETWORK_FILE, WEIGHTS_FILE = "config.json", "weights.safetensors"
ARCHITECTURE_FOLDER = "architecture"


@dataclass(frozen=True)
class RunConfig:
    """What the `config.json` of a training run says about the model it made.

    Attributes:
        arch: a key of `architectures.ARCHITECTURES`, or `"hf"`.
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
    folder = Path(path).expanduser()
    file = folder / CONFIG
    if not file.exists():
        raise RunError(f"{path} has no {CONFIG}: give a directory of ddrs train")
    config = read_config(folder)
    if config.get("kind") != "train":
        raise RunError(f"{file} is not of a training run: give a directory of ddrs train")
    try:
        run = decode(RunConfig, config)
    except (TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: bad or missing value: {one_line(error)}") from error
    known = run.noise in NOISES and run.num_classes > 0
    if not (known and math.isfinite(run.sigma) and run.sigma >= 0):
        raise RunError(f"{file} is damaged: {run}")
    return run


def from_run(path: Path, weights: PathLike | None) -> LoadedModel:
    """The network of a training run, with its own weights or those of another file."""
    run = read_run_config(path)
    module = network(path, run.arch, run.num_classes)
    load_weights(module, path / WEIGHTS_FILE if weights is None else weights)
    return LoadedModel(
        module, run.num_classes, sigma=run.sigma, noise=run.noise, input_shape=run.input_shape
    )


def network(path: Path, arch: str, num_classes: int) -> nn.Module:
    """The network of a training run, with random weights.

    Args:
        path: the run directory.
        arch: what its `config.json` says.
        num_classes: length of the output.

    Raises:
        ConfigurationError: there is no such architecture.
        MissingDependencyError: it is one of `transformers`, which is not installed.
        RunError: it is one of `transformers`, and what describes it is missing or damaged.
    """
    if arch != HF:
        return build(arch, num_classes)
    transformers = optional("transformers", "hf")
    folder = path / ARCHITECTURE_FOLDER
    for name in (NETWORK_FILE, SETTINGS_FILE):
        if not (folder / name).is_file():
            raise RunError(f"{folder} has no {name}: give a run of ddrs train that is finished")
    try:
        check_file(folder / NETWORK_FILE)
        with quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(
                str(folder), num_labels=num_classes, **NO_CODE
            )
            model = transformers.AutoModelForImageClassification.from_config(config, **NO_CODE)
        return Preprocessed(model.float(), read_settings(str(folder)))
    except DDRSError:
        raise
    except Exception as error:  # the files decide what code of the package meets them
        raise RunError(f"{folder} is damaged: {one_line(error)}") from error


def save_architecture(module: nn.Module, directory: Path) -> None:
    """Write what `network` needs beside the weights; nothing for one of `ddrs.networks`.

    A process that is killed meanwhile leaves a whole directory, or one that `network` refuses.

    Args:
        module: the network of a training.
        directory: `architecture` in the run directory; replaced if it is there.

    Raises:
        RunError: it cannot be written; one that was there before is kept.
    """
    if not isinstance(module, Preprocessed):
        return
    config: Any = module.model.config
    partial: Path | None = None
    clear_leftovers(directory)
    try:
        partial = made_beside(directory, Path.mkdir)
        config.save_pretrained(partial)
        (partial / SETTINGS_FILE).write_text(json.dumps(dict(module.settings)), encoding="utf-8")
        for path in (*partial.iterdir(), partial):
            sync(path)
        shutil.rmtree(directory, ignore_errors=True)  # a rename replaces only an empty one
        partial.rename(directory)
        sync(directory.parent)
    except OSError as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        raise RunError(cannot_write("architecture", directory, error)) from error
