"""A model that is only looked at: evaluation mode and no parameter gradients, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["frozen"]


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode with frozen weights; afterwards each part is as it was.

    Yields:
        The network to call. It is what a `DistributedDataParallel` wraps, because the wrapper would
        prepare every forward pass for a reduction of gradients that never comes.
    """
    modes = {module: module.training for module in model.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.eval()
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield model.module if isinstance(model, DistributedDataParallel) else model
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, requires_grad in wanted.items():
            parameter.requires_grad_(requires_grad)
