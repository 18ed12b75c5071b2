"""The arithmetic that a network is run in."""

from typing import Literal

__all__ = ["Precision"]

Precision = Literal["fp32", "bf16"]
"""`"fp32"` is the network's own; `"bf16"` is autocast to bfloat16."""
