"""The training examples in memory, so that a batch is one look-up."""

from operator import index as as_integer
from typing import Protocol

import torch
from torch import Tensor

from ddrs.errors import DataError
from ddrs.inputs import from_pixels, to_pixels

__all__ = ["ExampleStore", "Examples"]

KEPT_BYTES = 4 * 2**30  # a larger set is read again in every epoch


class Examples(Protocol):
    """A map-style dataset of (input, label); one without labels is refused where it is read."""

    def __len__(self) -> int:
        """The number of examples."""

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        """One example."""


class ExampleStore:
    """Examples by their ids; what is kept is read and checked once, here.

    They are kept as bytes where all inputs are multiples of 1/255, as the pixels of images are,
    and otherwise in the inputs' own type.

    Args:
        examples: where they are read, at least one.
        classes: every label is below.
        kept_bytes: where all take more than this, none is kept: each is read and checked whenever
            it is needed.

    Raises:
        DataError: an example that is not an input and a class, or inputs of several shapes.
    """

    def __init__(self, examples: Examples, classes: int, kept_bytes: int = KEPT_BYTES) -> None:
        self._examples = examples
        self._classes = classes
        first, _ = read(examples, 0, classes)
        self._shape, self._dtype = first.shape, first.dtype
        self._x = self._keep(first, kept_bytes)

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs `[batch, *input]` in their own type, and int64 labels `[batch]`, on the CPU."""
        if self._x is None:
            pairs = [self._read(index) for index in ids.tolist()]
            return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])
        x = self._x[ids]
        return (_from_bytes(x, self._dtype) if x.dtype == torch.uint8 else x), self._y[ids]

    def _keep(self, first: Tensor, kept_bytes: int) -> Tensor | None:
        """All inputs `[examples, *input]`, their labels beside them; None if they are too large."""
        count = len(self)
        bytewise = _as_bytes(first) is not None
        if count * first.numel() * (1 if bytewise else first.element_size()) > kept_bytes:
            return None
        dtype = torch.uint8 if bytewise else first.dtype
        kept = torch.empty((count, *first.shape), dtype=dtype)
        self._y = torch.empty(count, dtype=torch.int64)
        for index in range(count):
            x, self._y[index] = self._read(index)
            encoded = _as_bytes(x) if kept.dtype == torch.uint8 else x
            if encoded is None:  # no image after all
                if kept.numel() * x.element_size() > kept_bytes:
                    return None
                kept, encoded = _from_bytes(kept, x.dtype), x
            kept[index] = encoded
        return kept

    def _read(self, index: int) -> tuple[Tensor, int]:
        x, y = read(self._examples, index, self._classes)
        if x.shape != self._shape:
            raise DataError(
                f"training example {index} has shape {list(x.shape)} but the first one has "
                f"{list(self._shape)}: bring all inputs to one shape"
            )
        return x.to(self._dtype), y


def read(examples: Examples, index: int, classes: int | None = None) -> tuple[Tensor, int]:
    """One example, checked.

    Args:
        examples: where it is.
        index: which one.
        classes: its label must be below; None for any label.

    Raises:
        DataError: it is not a floating-point input and a class.
    """
    try:
        x, label = examples[index]
        if label is None:
            raise TypeError("it has no label")
        y = as_integer(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"training example {index} is not a pair of an input and an integer label ({error}): "
            "training needs labels"
        ) from error
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise DataError(
            f"training example {index} is {kind}: give inputs as floating-point tensors"
        )
    if y < 0 or (classes is not None and y >= classes):
        most = "" if classes is None else f" to {classes - 1}"
        raise DataError(
            f"training example {index} has the label {y} but the model's classes are 0{most}: "
            "correct the labels or take a model with more classes"
        )
    return x, y


def _as_bytes(x: Tensor) -> Tensor | None:
    """Pixels k/255 as k, if all are exactly that; bfloat16, which NumPy lacks, is kept as it is."""
    k = None if x.dtype == torch.bfloat16 else to_pixels(x.detach().cpu().numpy())
    return None if k is None else torch.from_numpy(k)


def _from_bytes(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(from_pixels(x.numpy(), str(dtype).removeprefix("torch.")))
