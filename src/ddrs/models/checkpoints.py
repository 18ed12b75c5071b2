"""What training scripts save: where the weights are in it, and how their keys are prefixed."""

import argparse
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["SAFE", "found_state", "renamed"]

# Names under which scripts keep the weights, and a moving average of them, which comes second.
ENTRIES = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")

WRAPPERS = ("module", "_orig_mod")  # of DataParallel and of torch.compile

_SCALARS = (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
_SCALAR = np.float64(0).__reduce__()[0]

SAFE: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in _SCALARS),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
"""What a file may hold beside tensors, for `torch.serialization.safe_globals`: it runs nothing."""


def found_state(saved: object) -> dict[str, Tensor] | None:
    """The state dict in what a file holds, bare or under a usual name; None where there is none.

    Where a file has weights and their moving average, the weights count.
    """
    if not isinstance(saved, Mapping):
        return None
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in saved.items()):
        return dict(saved)
    inner = (found_state(saved.get(name)) for name in (*ENTRIES, *AVERAGES))
    return next((state for state in inner if state is not None), None)


def renamed(given: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The state with the keys of the module, where wrappers or an outer module prefixed them.

    Args:
        given: key of the file -> tensor.
        own: keys of the module.
    """
    bare = {_bare(key): value for key, value in given.items()}
    by_bare = {_bare(key): key for key in own}
    if len(bare) < len(given) or len(by_bare) < len(own):  # two keys differ by a wrapper alone
        return dict(given)
    for prefix in _prefixes(bare):
        cut = {key.removeprefix(prefix): value for key, value in bare.items()}
        if {*cut} & {*by_bare}:
            return {by_bare.get(key, key): value for key, value in cut.items()}
    return dict(given)


def _bare(key: str) -> str:
    """A key without the names of wrappers."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _prefixes(keys: Collection[str]) -> list[str]:
    """No prefix, and those that all keys have, up to a dot."""
    first = next(iter(keys), "")
    ends = [index + 1 for index, letter in enumerate(first) if letter == "."]
    return [first[:end] for end in [0, *ends] if all(key.startswith(first[:end]) for key in keys)]
