"""The one view of inputs and their labels, whatever holds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import ceil, prod
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils import data as torch_data

from ddrs.data.labels import Labels
from ddrs.data.split import Split
from ddrs.errors import DataError
from ddrs.inputs import input_digest

__all__ = [
    "Dataset",
    "checked",
]

DIGEST_VALUES = 2**26
"""Read for a digest, in seconds: 21 845 images of 32 x 32, or 445 of 224 x 224."""


def _nameless(index: int) -> str | None:
    return None


@dataclass(frozen=True, eq=False)
class Dataset(torch_data.Dataset[tuple[Tensor, int | None]]):
    """Inputs of one shape, read one at a time, with their labels; made by `load`.

    Attributes:
        name: the spec that it was loaded from.
        split: the part that was opened.
        classes: name of each class of the whole dataset, also of those that this part lacks; a
            label is an index into it. Empty where nothing says what classes there are.
        named: whether these names are the source's own; else they are numbers made up here.
        shape: shape of every input.
    """

    name: str
    split: Split
    classes: tuple[str, ...]
    named: bool
    shape: tuple[int, ...]
    _count: int = field(repr=False)
    _labels: npt.NDArray[np.int64] | None = field(repr=False)
    _read: Callable[[int], Tensor] = field(repr=False)
    _file_name: Callable[[int], str | None] = field(repr=False, default=_nameless)
    _numbers: npt.NDArray[np.int64] | None = field(repr=False, default=None)

    @property
    def num_classes(self) -> int:
        """Number of classes; every label is below it. 0 where nothing says it."""
        return len(self.classes)

    @property
    def labelled(self) -> bool:
        """Whether the inputs have labels: all of them, or none."""
        return self._labels is not None

    def file_name(self, index: int) -> str | None:
        """The file that an input comes from, below the dataset's directory; None without one."""
        return self._file_name(range(len(self))[index])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        """One input, float32 `[*shape]`, and its label; None where there are no labels.

        Raises:
            DataError: the input cannot be decoded, or has another shape than the first one.
            IndexError: there is no such input.
        """
        index = range(len(self))[index]
        x = self._read(index)
        if tuple(x.shape) != self.shape:
            raise DataError(self._misfit(index, tuple(x.shape)))
        labels = self._numbered(slice(index, index + 1))
        return x, None if labels is None else int(labels[0])

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """Inputs `start` to `stop`, as a slice: float32 `[batch, *shape]`, int64 `[batch]`.

        Raises:
            DataError: an input cannot be decoded, or has another shape than the first one.
        """
        indices = range(len(self))[start:stop]
        x = torch.empty((len(indices), *self.shape))
        for row, index in enumerate(indices):
            x[row] = self[index][0]
        labels = self._numbered(slice(start, stop))
        return x, None if labels is None else torch.tensor(labels)

    def renumbered(self, numbers: Sequence[int], num_classes: int) -> Self:
        """The same inputs, whose labels are numbers among `num_classes` classes.

        `digest` stays what it was: it is of the labels that the source has.

        Args:
            numbers: the new number of each class, below `num_classes`.
            num_classes: how many classes there are in the new numbers.

        Raises:
            DataError: there are not as many numbers as classes.
        """
        if len(numbers) != len(self.classes):
            raise DataError(
                f"{self.name} has {len(self.classes)} classes, not the {len(numbers)} that are "
                "to be renumbered"
            )
        classes = [str(number) for number in range(num_classes)]
        for name, number in zip(self.classes, numbers, strict=True):
            classes[number] = name
        return replace(self, classes=tuple(classes), _numbers=np.array(numbers, dtype=np.int64))

    def _numbered(self, rows: slice) -> npt.NDArray[np.int64] | None:
        """Labels, in the numbers that they were given."""
        if self._labels is None or self._numbers is None:
            return None if self._labels is None else self._labels[rows]
        return self._numbers[self._labels[rows]]

    def _misfit(self, index: int, shape: tuple[int, ...]) -> str:
        file = self.file_name(index)
        named = f"{self.name}: input {index}" + (f" ({file})" if file else "")
        what = f"{named} has shape {shape} but the first one has {self.shape}"
        if shape[1:] == self.shape[1:]:
            return f"{what}: take all in colour with --rgb, or all in grey with --gray"
        return f"{what}: resize all images to one size, as with --resize 256 --crop 224"

    def digest(self, inputs: int) -> str:
        """SHA-256 of the first `inputs` labels and inputs, by which to tell that data changed.

        It covers all labels, and all inputs if they have at most `DIGEST_VALUES` values together;
        of more, some that are evenly spread.

        Raises:
            DataError: as when an input is read.
        """
        labels = np.empty(0) if self._labels is None else self._labels[:inputs]
        digest = sha256(labels.astype("<i8").tobytes())
        for index in range(0, inputs, ceil(inputs * prod(self.shape) / DIGEST_VALUES)):
            digest.update(input_digest(self[index][0].numpy()).encode())
        return digest.hexdigest()


def checked(
    spec: str,
    split: Split,
    labels: Labels,
    read: Callable[[int], Tensor],
    file_name: Callable[[int], str | None] = _nameless,
) -> Dataset:
    """The dataset, once there is an input to tell the shape."""
    if labels.count == 0:
        raise DataError(f"{spec}: no inputs for the split {split}")
    shape = tuple(read(0).shape)
    return Dataset(
        spec, split, labels.classes, labels.named, shape, labels.count, labels.y, read, file_name
    )
