"""A model that is only looked at: evaluation mode and no parameter gradients, for a while.

Several threads may freeze one model, or models that share parts, at once: freezing is counted for
each module and parameter, the first one in notes how it was and the last one out puts it back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ddrs.errors import ModelError

__all__ = ["check_frozen", "frozen", "to_eval"]


@dataclass
class _Frozen:
    """A module or a parameter that is frozen: what it is to be put back to, and by how many."""

    part: nn.Module | nn.Parameter
    before: bool
    now: bool = False
    holders: int = 0
    meddled: bool = False  # whether a module was seen in another mode than `now` meanwhile


_LOCK = RLock()  # the collector may end an abandoned loop, which holds a model, within it
_PARTS: dict[int, _Frozen] = {}  # by the id of the part, which is kept alive


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode with frozen weights; afterwards each part is as it was.

    Yields:
        The network to call. It is what a `DistributedDataParallel` wraps, because the wrapper would
        prepare every forward pass for a reduction of gradients that never comes.
    """
    modules, parameters = list(model.modules()), list(model.parameters())
    with _LOCK:
        for module in modules:
            held = _hold(module, getattr(module, "training", False))  # a frozen script has no mode
            # Freezing takes back what another thread did, which the other holders have to know.
            held.meddled |= held.holders > 1 and held.now != module.training
        for parameter in parameters:
            _hold(parameter, parameter.requires_grad)
        try:
            to_eval(model)
            for parameter in parameters:
                parameter.requires_grad_(False)
        except BaseException:
            _release([*modules, *parameters])
            raise
        for module in modules:
            _PARTS[id(module)].now = module.training  # a module may insist on training
    try:
        yield model.module if isinstance(model, DistributedDataParallel) else model
    finally:
        with _LOCK:
            _release([*modules, *parameters])


def to_eval(model: nn.Module) -> None:
    """Put a model into evaluation mode, but for programs of `torch.export` in it.

    These have no mode: they do what the network did that they were made of, and refuse `eval`.
    """
    try:
        model.eval()
    except NotImplementedError:
        model.training = False
        for part in model.children():
            to_eval(part)


def check_frozen(model: nn.Module) -> None:
    """Refuse a frozen model that somebody put into training mode meanwhile.

    Raises:
        ModelError: a part of it is in another mode than when it was frozen.
    """
    for module in model.modules():
        held = _PARTS.get(id(module))
        if held is not None and (held.meddled or held.now != module.training):
            raise ModelError(
                "the model was put into training mode while it voted, so its votes may be wrong: "
                "leave it alone until the call returns"
            )


def _hold(part: nn.Module | nn.Parameter, before: bool) -> _Frozen:
    held = _PARTS.setdefault(id(part), _Frozen(part, before))
    held.holders += 1
    return held


def _release(parts: list[nn.Module | nn.Parameter]) -> None:
    for part in parts:
        held = _PARTS[id(part)]
        held.holders -= 1
        if held.holders:
            continue
        del _PARTS[id(part)]
        if isinstance(part, nn.Module):
            part.training = held.before
        else:
            part.requires_grad_(held.before)
