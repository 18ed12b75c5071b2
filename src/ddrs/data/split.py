"""The parts of a dataset."""

from typing import Literal

__all__ = ["Split"]

Split = Literal["train", "test"]
