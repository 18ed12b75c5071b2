"""Inputs that are in memory: the digits of scikit-learn, and `.npz` archives."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddrs.data.dataset import Dataset, checked
from ddrs.data.reading import existing, reading
from ddrs.data.split import Split
from ddrs.errors import DataError
from ddrs.inputs import from_pixels

__all__ = [
    "open_digits",
    "open_npz",
]


def open_digits(spec: str, split: Split) -> Dataset:
    """The handwritten digits of scikit-learn, in a split that is always the same."""
    from sklearn.datasets import load_digits  # seconds to import, and rarely needed
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    train, test = train_test_split(
        np.arange(len(x)), test_size=360, stratify=digits.target, random_state=0
    )
    chosen = train if split == "train" else test
    names = [str(name) for name in digits.target_names]
    return checked(spec, split, digits.target[chosen], partial(_row, x[chosen]), names)


def open_npz(spec: str, source: str, split: Split) -> Dataset:
    """An archive of `numpy.savez`."""
    with reading(spec):
        archive = np.load(existing(spec, source), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{spec}: not an archive: save inputs and labels with numpy.savez")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    for x, y in ((f"x_{split}", f"y_{split}"), ("x", "y"), ("images", "labels")):
        if x in arrays and y in arrays:
            inputs = _inputs(spec, arrays[x], arrays[y])
            return checked(spec, split, arrays[y], partial(_row, inputs))
    raise DataError(
        f"{spec}: needs the arrays x and y, images and labels, or x_{split} and y_{split}; "
        f"found {', '.join(arrays) or 'none'}"
    )


def _row(x: npt.NDArray[Any], index: int) -> Tensor:
    """A copy of one input: uint8 scaled to [0, 1], float32 as it is."""
    if x.dtype == np.uint8:
        return torch.from_numpy(from_pixels(np.ascontiguousarray(x[index]), np.float32))
    return torch.tensor(x[index])


def _inputs(spec: str, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array of inputs -> uint8 `[n, channels, height, width]`, or finite float32 `[n, ...]`."""
    if x.ndim < 2 or x.shape[:1] != y.shape[:1]:
        raise DataError(f"{spec}: inputs {x.shape} and labels {y.shape} must have equal length")
    if x.dtype == np.uint8:
        if x.ndim == 3:
            return x[:, None]
        return np.moveaxis(x, -1, 1) if x.ndim == 4 and x.shape[-1] in (1, 3) else x
    if x.dtype.kind != "f":
        raise DataError(f"{spec}: inputs are {x.dtype}: store images as uint8, other data as float")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, found below
        x = x.astype(np.float32)
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        raise DataError(f"{spec}: input {int(finite.argmin())} has NaN or infinite values")
    return x
