"""The parts of a dataset, whatever a source calls them."""

import warnings
from collections.abc import Iterable
from typing import Literal, get_args

from ddrs.errors import DataError, DDRSWarning

__all__ = ["SPLITS", "Split", "choose_split", "split_of"]

Split = Literal["train", "test", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)

_SPELLINGS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


def split_of(name: str) -> Split | None:
    """The part that a folder, a file or an array of this name is; None for any other name."""
    return _SPELLINGS.get(name.lower())


def choose_split(spec: str, split: Split, found: Iterable[Split]) -> Split:
    """The part to open: the one asked for, or validation where there is no test.

    Raises:
        DataError: neither is there.
    """
    parts = tuple(dict.fromkeys(found))
    if split in parts:
        return split
    if split == "test" and "validation" in parts:
        warnings.warn(f"{spec} has no split test: validation is taken", DDRSWarning, stacklevel=2)
        return "validation"
    there = " and ".join(parts) or "none"
    advice = f": ask for it with --split {parts[0]}" * (len(parts) == 1 and split == "test")
    raise DataError(f"{spec}: no split {split}; there is {there}{advice}")
