"""The one view of labelled inputs, and the checks that every source's labels pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil, prod
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils import data as torch_data

from ddrs.data.split import Split
from ddrs.errors import DataError
from ddrs.inputs import input_digest

__all__ = [
    "SPLITS",
    "Dataset",
    "checked",
]

SPLITS: tuple[Split, ...] = get_args(Split)
MOST_CLASSES = 2**20  # a label beyond is an identifier, not a class
DIGEST_VALUES = (
    2**26
)  # read for a digest, in seconds: 21 845 images of 32 x 32, or 445 of 224 x 224


@dataclass(frozen=True, eq=False)
class Dataset(torch_data.Dataset[tuple[Tensor, int]]):
    """Labelled inputs of one shape, read one at a time; made by `load`.

    Attributes:
        name: the spec that it was loaded from.
        split: `"train"` or `"test"`.
        classes: name of each class; a label is an index into it.
        shape: shape of every input.
    """

    name: str
    split: Split
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    _labels: npt.NDArray[np.int64] = field(repr=False)
    _read: Callable[[int], Tensor] = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes; every label is below it."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One input, float32 `[*shape]`, and its label.

        Raises:
            DataError: the input cannot be decoded, or has another shape than the first one.
            IndexError: there is no such input.
        """
        index = range(len(self))[index]
        x = self._read(index)
        if tuple(x.shape) != self.shape:
            raise DataError(
                f"{self.name}: input {index} has shape {tuple(x.shape)} but the first one has "
                f"{self.shape}: resize all images to one size first"
            )
        return x, int(self._labels[index])

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs `start` to `stop`, as a slice: float32 `[batch, *shape]`, int64 `[batch]`.

        Raises:
            DataError: an input cannot be decoded, or has another shape than the first one.
        """
        indices = range(len(self))[start:stop]
        x = torch.empty((len(indices), *self.shape))
        for row, index in enumerate(indices):
            x[row] = self[index][0]
        return x, torch.tensor(self._labels[start:stop])

    def digest(self, inputs: int) -> str:
        """SHA-256 of the first `inputs` labels and inputs, by which to tell that data changed.

        It covers all labels, and all inputs if they have at most `DIGEST_VALUES` values together;
        of more, some that are evenly spread.

        Raises:
            DataError: as when an input is read.
        """
        digest = sha256(self._labels[:inputs].astype("<i8").tobytes())
        for index in range(0, inputs, ceil(inputs * prod(self.shape) / DIGEST_VALUES)):
            digest.update(input_digest(self[index][0].numpy()).encode())
        return digest.hexdigest()


def checked(
    spec: str,
    split: Split,
    labels: npt.NDArray[Any],
    read: Callable[[int], Tensor],
    names: Sequence[str] | None = None,
) -> Dataset:
    """Check the labels, and look at the first input for the shape."""
    if labels.size == 0:
        raise DataError(f"{spec}: no inputs for the split {split}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{spec}: labels {labels.shape} of {labels.dtype} are not one integer each")
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        index = int(labels.argmin() if labels.min() < 0 else labels.argmax())
        raise DataError(f"{spec}: label {labels[index]} at index {index} is not a class index")
    classes = tuple(names or map(str, range(int(labels.max()) + 1)))
    if labels.max() >= len(classes):
        raise DataError(f"{spec}: label {labels.max()} but only {len(classes)} class names")
    shape = tuple(read(0).shape)
    return Dataset(spec, split, classes, shape, labels.astype(np.int64), read)
