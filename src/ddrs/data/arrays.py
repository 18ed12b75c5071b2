"""Inputs that are in memory: the digits of scikit-learn, and `.npz` archives."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddrs.data.dataset import Dataset, checked
from ddrs.data.labels import read_labels
from ddrs.data.preparation import Preparation
from ddrs.data.reading import existing, reading
from ddrs.data.split import Split, choose_split, split_of
from ddrs.errors import DataError, DDRSWarning
from ddrs.inputs import from_pixels

__all__ = [
    "open_digits",
    "open_npz",
]


def open_digits(spec: str, split: Split, preparation: Preparation) -> Dataset:
    """The handwritten digits of scikit-learn, in a split that is always the same."""
    from sklearn.datasets import load_digits  # seconds to import, and rarely needed
    from sklearn.model_selection import train_test_split

    preparation.refuse(spec)
    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    train, test = train_test_split(
        np.arange(len(x)), test_size=360, stratify=digits.target, random_state=0
    )
    chosen = train if choose_split(spec, split, ("train", "test")) == "train" else test
    names = [str(name) for name in digits.target_names]
    labels = read_labels(spec, digits.target[chosen], names=names)
    return checked(spec, split, labels, partial(_row, x[chosen]))


def open_npz(spec: str, source: str, split: Split, preparation: Preparation) -> Dataset:
    """An archive of `numpy.savez`."""
    preparation.refuse(spec)
    with reading(spec):
        archive = np.load(existing(spec, source), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{spec}: not an archive: save inputs and labels with numpy.savez")
        with archive:
            arrays = {name: _array(spec, archive, name) for name in archive.files}
    x, y, others, chosen = _pair(spec, arrays, split)
    labels = read_labels(spec, y, others)
    return checked(spec, chosen, labels, partial(_row, _inputs(spec, x, y)))


def _array(spec: str, archive: Any, name: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{spec} cannot be read: {name} holds pickled objects, which could run code of their "
            "own: save texts as np.array(labels, dtype=str), and inputs of one shape as one array"
        ) from error
    return array


Pair = tuple[npt.NDArray[Any], npt.NDArray[Any], list[npt.NDArray[Any]], Split]


def _pair(spec: str, arrays: dict[str, npt.NDArray[Any]], split: Split) -> Pair:
    """Inputs and labels of a part, the labels of the other parts, and which part it is."""
    parts: dict[Split, tuple[str, str]] = {}
    for name in arrays:
        letter, _, part = name.partition("_")
        if letter == "x" and (of := split_of(part)) and f"y_{part}" in arrays:
            parts[of] = name, f"y_{part}"
    if parts and (split in parts or not _whole(arrays)):
        chosen = choose_split(spec, split, parts)
        names, others = parts[chosen], [arrays[y] for _, y in parts.values()]
    elif whole := _whole(arrays):
        chosen, names, others = split, whole, []
    else:
        raise DataError(
            f"{spec}: needs the arrays x and y, images and labels, or x_{split} and y_{split}; "
            f"found {', '.join(arrays) or 'none'}"
        )
    return arrays[names[0]], arrays[names[1]], others, chosen


def _whole(arrays: dict[str, npt.NDArray[Any]]) -> tuple[str, str] | None:
    pairs = (("x", "y"), ("images", "labels"))
    return next((pair for pair in pairs if all(name in arrays for name in pair)), None)


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
        return x[:, None] if x.ndim == 3 else _channels_first(spec, x)
    if x.dtype.kind != "f":
        how = "store images as uint8, other data as float"
        if x.dtype == np.uint16:
            how = (
                "nothing says which value is white: divide by that, as in x / 65535 for all 16 "
                "bits, and store float32"
            )
        raise DataError(f"{spec}: inputs are {x.dtype}: {how}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, found below
        x = x.astype(np.float32)
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        raise DataError(f"{spec}: input {int(finite.argmin())} has NaN or infinite values")
    return _channels_first(spec, x)


def _channels_first(spec: str, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images `[n, height, width, channels]` as `[n, channels, height, width]`; others as they are.

    Raises:
        DataError: images with an alpha channel.
    """
    if x.ndim != 4 or x.shape[-1] not in (1, 3, 4):
        return x
    if x.dtype != np.uint8 and x.shape[1] in (1, 3):
        return x
    if x.shape[-1] == 4:
        if x.shape[1] in (1, 3, 4):
            return x
        raise DataError(
            f"{spec}: inputs {x.shape} are images with an alpha channel: store three channels"
        )
    if x.dtype != np.uint8:
        text = f"{spec}: inputs {x.shape} are taken as images whose channels come last"
        warnings.warn(text, DDRSWarning, stacklevel=2)
    return np.moveaxis(x, -1, 1)
