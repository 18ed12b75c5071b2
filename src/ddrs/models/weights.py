"""Weights files: read without running their code, and used only where they fit the module."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddrs.errors import DDRSError, WeightsError, one_line
from ddrs.files import check_file
from ddrs.models.checkpoints import SAFE, found_state, renamed

__all__ = [
    "SUFFIXES",
    "Fit",
    "PathLike",
    "compare",
    "copy_fitting",
    "first_few",
    "load_weights",
    "read_state",
    "read_weights",
    "shapes",
]

PathLike = str | Path
Shapes = Mapping[str, tuple[int, ...]]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
SHOWN_KEYS = 3  # of the keys that do not fit, in an error
COUNTER = "num_batches_tracked"  # of batch normalisation: no prediction uses it


@dataclass(frozen=True)
class Fit:
    """How given tensors compare with those of a module.

    The counters of batch normalisation, which no prediction uses, are not counted on either side.

    Attributes:
        total: how many tensors the module has.
        missing: keys of the module that are not given.
        unexpected: given keys that are not of the module.
        wrong_shape: the keys whose shapes differ, each with the shape given and the module's.
    """

    total: int
    missing: list[str]
    unexpected: list[str]
    wrong_shape: list[str]

    @property
    def used(self) -> int:
        """How many tensors of the module are given in their shape."""
        return self.total - len(self.missing) - len(self.wrong_shape)

    @property
    def faults(self) -> str:
        """What does not fit, the first few keys of each kind; empty where all does."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "wrong shape": self.wrong_shape,
        }
        return "; ".join(f"{kind} {first_few(keys)}" for kind, keys in kinds.items() if keys)

    def misfit(self, source: PathLike) -> str:
        """One line that says what of the weights from `source` does not fit."""
        share = f"{self.used} of {self.total} tensors do"
        return f"{source} does not fit the model ({share}): {self.faults}"


def load_weights(module: nn.Module, path: PathLike) -> None:
    """Copy the weights of a file into a module, which stays as it was when they do not fit.

    Every key must be there with the module's shape, and no other; only `num_batches_tracked` of
    batch normalisation, which no prediction uses, may be missing or left over.

    Args:
        module: the module to fill, in place.
        path: `.safetensors`, or a `.pt`, `.pth` or `.bin` file of `torch.save` that holds a state
            dict, bare or as training scripts keep it (`models.checkpoints`): under `state_dict`,
            `model` or `net`, say, beside settings and scores, and with the prefixes of wrappers.

    Raises:
        WeightsError: the file is missing or damaged, or its keys or shapes are not the module's.
    """
    given = read_weights(module, path)
    fit = compare(shapes(module.state_dict()), shapes(given))
    if fit.faults:
        raise WeightsError(fit.misfit(path))
    copy_fitting(module, given)


def read_weights(module: nn.Module, path: PathLike) -> dict[str, Tensor]:
    """The state dict of a file, with keys as the module has them.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    return renamed(read_state(Path(path).expanduser()), module.state_dict().keys())


def shapes(state: Mapping[str, Tensor]) -> Shapes:
    """Key -> shape."""
    return {key: tuple(value.shape) for key, value in state.items()}


def compare(own: Shapes, given: Shapes) -> Fit:
    """How tensors of the shapes `given` fit a module with those of `own`."""
    counted = [key for key in own if not key.endswith(COUNTER)]
    return Fit(
        total=len(counted),
        missing=[key for key in counted if key not in given],
        unexpected=[key for key in given if key not in own and not key.endswith(COUNTER)],
        wrong_shape=[
            f"{key} {given[key]} for {own[key]}"
            for key in counted
            if key in given and given[key] != own[key]
        ],
    )


def copy_fitting(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    """Copy the tensors that the module has with the same shape; the others stay as they are."""
    own = module.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
    module.load_state_dict(own | fitting)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a weights file, with the keys that it has there."""
    try:
        check_file(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            saved: Any = load_file(path)
        elif path.suffix in SUFFIXES:
            with torch.serialization.safe_globals(SAFE):
                saved = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise WeightsError(f"{path}: weights are .safetensors, .pt, .pth or .bin files")
    except FileNotFoundError as error:
        raise WeightsError(f"no weights file at {path}: check the path") from error
    except DDRSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"{path} cannot be read: {one_line(error)}") from error
    state = found_state(saved)
    if state is None:
        raise WeightsError(f"{path} holds no state dict: save module.state_dict()")
    return state


def first_few(keys: list[str], shown: int = SHOWN_KEYS) -> str:
    """The first keys of a list, and how many more there are."""
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + more
