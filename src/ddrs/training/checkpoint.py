"""A file that holds all of a training, replaced in one step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddrs.errors import RunError, one_line
from ddrs.files import check_file, clear_leftovers, replacing

__all__ = ["check_fits", "read_checkpoint", "read_sigmas", "write_checkpoint"]

State = dict[str, Any]


def write_checkpoint(path: Path, state: State) -> None:
    """Replace the file; it is on disk when this returns, and on any error it is as it was.

    Raises:
        RunError: it cannot be written.
    """
    clear_leftovers(path)  # a training that is often killed would fill the disk with them
    try:
        with replacing(path) as partial:
            torch.save(state, partial)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        before = "; the checkpoint before it is kept: make room and start again to go on from it"
        raise RunError(f"cannot write {path}: {one_line(error)}{before * path.exists()}") from error


def read_checkpoint(path: Path) -> State | None:
    """What the file holds, on the CPU; None if there is no file.

    Raises:
        RunError: it is damaged, or no checkpoint.
    """
    if not path.exists():
        return None
    try:
        check_file(path)
        state = torch.load(path, weights_only=True, map_location="cpu")
        return {str(name): part for name, part in state.items()}
    except Exception as error:
        raise RunError(
            f"cannot resume from {path}: {one_line(error)}; delete it to start over"
        ) from error


def read_sigmas(path: Path) -> Tensor:
    """`[examples]` float64 sigma of each example, by its id; that of the training for one held out.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    state = read_checkpoint(path)
    if state is None:
        raise RunError(f"no checkpoint at {path}")
    sigmas: Tensor = state["sigmas"]
    return sigmas


def check_fits(
    path: Path, state: State, *, config: State, examples: int, weights: Mapping[str, Tensor]
) -> None:
    """Refuse the checkpoint of another training, before anything of it is used.

    Args:
        path: where it was, for the message.
        state: what it holds.
        config: the configuration that it must have.
        examples: the number of examples that it must have been for.
        weights: names and shapes that its weights must have.

    Raises:
        RunError: it is of another configuration, dataset or architecture.
    """
    found = state.get("config") or {}
    keys = [key for key in {**found, **config} if found.get(key) != config.get(key)]
    if keys:
        raise RunError(
            f"{path} belongs to another training configuration ({', '.join(keys)} differ); train "
            "with that one, or delete it to start over"
        )
    if state["examples"] != examples:
        raise RunError(
            f"{path} is of a training with {state['examples']} examples, not {examples}; give the "
            "same data, or delete it to start over"
        )
    shapes = {name: value.shape for name, value in state["model"].items()}
    if shapes != {name: value.shape for name, value in weights.items()}:
        raise RunError(
            f"{path} is of another architecture; train that one, or delete it to start over"
        )
