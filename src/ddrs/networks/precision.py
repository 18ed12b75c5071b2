"""The arithmetic that a network is run in."""

from typing import TYPE_CHECKING, Literal

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:  # torch takes a second to load: imported where a device is looked at
    import torch

__all__ = ["Precision", "check_precision"]

Precision = Literal["fp32", "bf16"]
"""`"fp32"` is the network's own; `"bf16"` is autocast to bfloat16."""


def check_precision(precision: Precision, device: "torch.device") -> None:
    """Refuse a precision that the device does not have.

    Raises:
        ConfigurationError: bfloat16 on a GPU without it.
    """
    if precision != "bf16" or device.type != "cuda":
        return
    import torch

    if not torch.cuda.is_bf16_supported(False):
        raise ConfigurationError("this GPU has no bfloat16: use precision fp32")
