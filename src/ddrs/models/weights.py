"""Weights files: read without running their code, and used only where they fit the module."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddrs.errors import DDRSError, WeightsError, one_line

PathLike = str | Path

SHOWN_KEYS = 3  # of the keys that do not fit, in an error


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
    given = read_state(Path(path).expanduser())
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
        listed = "; ".join(f"{fault} {first_few(keys)}" for fault, keys in faults.items() if keys)
        raise WeightsError(f"{path} does not fit the model: {listed}")
    module.load_state_dict(given)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a weights file, with the keys that it has there."""
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
        raise WeightsError(f"{path} cannot be read: {one_line(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: save module.state_dict()")
    return state


def first_few(keys: list[str]) -> str:
    """Keys for an error: the first few, and how many more there are."""
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more
