"""What torch tells of a network: its modules, their settings, its parameters and buffers."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ddrs.errors import ModelError, one_line

__all__ = ["Digest", "class_name", "contents", "feed_structure"]


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Any, /) -> None:
        """Add to what is digested."""


def class_name(kind: type) -> str:
    """The `digest_name` of a class, or where it lies; a subclass does not inherit the first."""
    return str(vars(kind).get("digest_name", f"{kind.__module__}.{kind.__qualname__}"))


def feed_structure(digest: Digest, model: nn.Module) -> None:
    """Add module classes, what their `extra_repr` tells, parameters and buffers to a digest.

    Raises:
        ModelError: a tensor without values, or of a kind that cannot be read.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        settings = module.extra_repr()  # stride, padding, eps, ...
        digest.update(f"{name}:{class_name(type(module))}({settings})\n".encode())
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]  # a module used twice counts twice
    for name, tensor in tensors:
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}\n".encode())
        try:
            for part in contents(tensor):
                digest.update(part)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise ModelError(
                f"{name} of the model has no values that can be read: {one_line(error)}; "
                "load its weights, and put it on a device"
            ) from error


def contents(tensor: Tensor) -> list[Any]:
    """The values of a tensor as bytes, whole: complex, sparse and quantised ones too.

    Raises:
        RuntimeError, NotImplementedError, TypeError: it has no values, or hides them.
    """
    tensor = tensor.detach()
    if tensor.is_quantized:
        per_channel = tensor.qscheme() in (
            torch.per_channel_affine,
            torch.per_channel_affine_float_qparams,
        )
        if per_channel:
            scales = [tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
            settings = f"axis {tensor.q_per_channel_axis()}"
        else:
            scales = []
            settings = f"{tensor.q_scale().hex()} {tensor.q_zero_point()}"
        parts = [part for each in (tensor.int_repr(), *scales) for part in contents(each)]
        return [f"{tensor.qscheme()} {settings}\n".encode(), *parts]
    if tensor.layout != torch.strided:
        return [f"{tensor.layout}\n".encode(), *contents(tensor.to_dense())]
    flat = tensor.cpu().resolve_conj().resolve_neg().contiguous().flatten()
    return [flat.view(torch.uint8).numpy().data]
