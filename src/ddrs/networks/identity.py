"""The identity of a classifier: a digest of everything that decides its answers."""

import hashlib

import torch
from torch import nn

from ddrs.networks.precision import Precision

__all__ = ["model_digest"]


def model_digest(model: nn.Module, precision: Precision, *, compiled: bool = False) -> str:
    """SHA-256 of a classifier: modules, settings, parameters, buffers, precision, compilation.

    Settings are what a module's `extra_repr` tells. Constants that it keeps elsewhere outside
    parameters and buffers are not seen: hold normalisation constants in registered buffers.

    A module goes by the name of its class and where that lies, or by the `digest_name` of its
    class, which stays when the code moves. A subclass does not inherit that: it may answer
    otherwise.
    """
    digest = hashlib.sha256(f"precision={precision}\n".encode())
    if compiled:
        digest.update(b"compiled\n")
    for name, module in model.named_modules(remove_duplicate=False):
        settings = module.extra_repr()  # stride, padding, eps, ...
        digest.update(f"{name}:{_name(type(module))}({settings})\n".encode())
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]  # a module used twice counts twice
    for name, tensor in tensors:
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def _name(kind: type[nn.Module]) -> str:
    return str(vars(kind).get("digest_name", f"{kind.__module__}.{kind.__qualname__}"))
