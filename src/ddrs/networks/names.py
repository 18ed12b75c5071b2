"""The names of the networks that ship with the library; `architectures` makes them, with torch."""

from typing import Literal

__all__ = ["Architecture"]

Architecture = Literal["digits-cnn", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]
