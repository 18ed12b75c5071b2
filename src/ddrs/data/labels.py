"""Labels as a source holds them -> class indices, and the names of the classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import DataError

__all__ = ["Labels", "in_order", "read_labels"]

MOST_CLASSES = 2**20  # a label beyond is an identifier, not a class
UNLABELLED = -1  # what the Hugging Face hub writes where nobody may know the label


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of one part of a dataset, with the classes of the whole.

    Attributes:
        count: how many inputs there are.
        y: `[count]` int64 indices into `classes`; None where the inputs have no labels.
        classes: a name for each class.
        named: whether the names are the source's own; else they are numbers made up here.
    """

    count: int
    y: npt.NDArray[np.int64] | None
    classes: tuple[str, ...] = ()
    named: bool = False


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of their indices: as numbers where all are numbers."""
    distinct = {str(name) for name in names}
    if all(name.isascii() and name.isdecimal() for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def read_labels(
    spec: str,
    labels: npt.NDArray[Any],
    others: Sequence[npt.NDArray[Any]] = (),
    names: Sequence[str] | None = None,
) -> Labels:
    """Check labels, and number those that are texts.

    Args:
        spec: of the dataset, for messages.
        labels: `[inputs]` integers or texts; -1 for all says that there are none.
        others: the labels of the dataset's other parts, whose classes count too.
        names: a name for each class, where the source has them.

    Raises:
        DataError: they are neither class indices nor texts.
    """
    labels = _flat(labels)
    if _are_texts(labels):
        return _of_texts(spec, labels, [_flat(each) for each in others])
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        how = ""
        if labels.ndim == 2:
            how = ": where they are one-hot, store labels.argmax(axis=1)"
        elif labels.dtype.kind in "Of":
            how = ": every input needs one, an integer or a text, or all of them -1 for none"
        raise DataError(
            f"{spec}: labels {labels.shape} of {labels.dtype} are not one integer each{how}"
        )
    most = [_largest(each) for each in (labels, *map(_flat, others))]
    classes = tuple(names or map(str, range(max(most) + 1)))
    if labels.size and (labels == UNLABELLED).all():
        return Labels(len(labels), None, classes, names is not None)
    _check_indices(spec, labels, classes)
    return Labels(len(labels), labels.astype(np.int64), classes, names is not None)


def _check_indices(spec: str, labels: npt.NDArray[Any], classes: Sequence[str]) -> None:
    if not labels.size:
        return
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        index = int(labels.argmin() if labels.min() < 0 else labels.argmax())
        how = ""
        if labels.min() == UNLABELLED:
            how = ": leave out the inputs that have no label, or give all of them -1"
        raise DataError(f"{spec}: label {labels[index]} at index {index} is not a class index{how}")
    if labels.max() >= len(classes):
        raise DataError(f"{spec}: label {labels.max()} but only {len(classes)} class names")


def _flat(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`[n, 1]`, as Keras has them, as `[n]`."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _largest(labels: npt.NDArray[Any]) -> int:
    usable = labels.size and labels.dtype.kind in "iu" and int(labels.max()) < MOST_CLASSES
    return int(labels.max()) if usable else -1


def _are_texts(labels: npt.NDArray[Any]) -> bool:
    if labels.ndim != 1 or not labels.size:
        return False
    return labels.dtype.kind == "U" or (
        labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels)
    )


def _of_texts(spec: str, labels: npt.NDArray[Any], others: Sequence[npt.NDArray[Any]]) -> Labels:
    texts = [str(label) for label in labels]
    known = {str(label) for each in others if _are_texts(each) for label in each}
    classes = in_order({*texts, *known})
    if len(classes) >= MOST_CLASSES:
        raise DataError(f"{spec}: {len(classes)} different labels are no classes")
    numbers = {name: number for number, name in enumerate(classes)}
    y = np.array([numbers[text] for text in texts], np.int64)
    return Labels(len(y), y, tuple(classes), named=True)
