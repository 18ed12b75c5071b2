"""What a module keeps outside of parameters, buffers, submodules and what `extra_repr` tells."""

from collections.abc import Iterator
from functools import lru_cache
from inspect import get_annotations, signature
from types import MemberDescriptorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from ddrs.networks.sources import enclosed
from ddrs.networks.torchscript import program_digest

__all__ = ["all_kept", "unwrapped"]

PARALLEL = (DataParallel, DistributedDataParallel)
INTERNAL = frozenset(vars(nn.Module()))

# These modules of torch.nn tell all that decides, but for what stands in UNTOLD.
TOLD = (
    "activation batchnorm channelshuffle container conv dropout flatten fold instancenorm linear "
    "normalization padding pixelshuffle pooling sparse upsampling"
)
NOT_TOLD = (nn.MultiheadAttention, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
AVERAGE: dict[str, object] = {
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}
UNTOLD: dict[type[nn.Module], dict[str, object]] = {
    nn.AvgPool1d: AVERAGE,
    nn.AvgPool2d: AVERAGE,
    nn.AvgPool3d: AVERAGE,
    nn.EmbeddingBag: {"include_last_offset": False},
    nn.Upsample: {"align_corners": None, "recompute_scale_factor": None},
}

# What libraries write on modules for themselves: it decides nothing.
NOTES = frozenset(
    {"_is_hf_initialized", "__overloads__", "_is_torch_compile", "_compiled_call_impl"}
)
NOTES_OF = {
    "transformers": frozenset(
        {"name_or_path", "warnings_issued", "_use_kernels", "_weight_conversions"}
    ),
    "timm": frozenset({"pretrained_cfg", "default_cfg"}),
}
# What a graph module keeps beside its code.
GRAPH = (
    "_graph _code _lineno_map _prologue_start _tracer_cls _tracer_extras meta shape_env train eval "
    "_replace_hooks _create_node_hooks _erase_node_hooks _deepcopy_hooks _in_spec _out_spec "
    "range_constraints validate_inputs"
)


def all_kept(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and value of what decides the answers of a model and torch does not tell of.

    A class with a `digest_name` declares that there is nothing but hooks and a `forward` of the
    instance. The wrappers that `unwrapped` removes hold nothing.

    Raises:
        RuntimeError: a TorchScript program that torch cannot save.
    """
    programs: list[str] = []
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if not any(name.startswith(program) for program in programs):
            if isinstance(module, torch.jit.ScriptModule):  # it is saved with its submodules
                programs.append(prefix)
            for attribute, value in _kept(module).items():
                yield prefix + attribute, value


def _kept(module: nn.Module) -> dict[str, Any]:
    own, kind = _own(module), type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return {**_hooks(module), "program": program_digest(module)}
    found = _hooks(module)
    if _is_wrapper(module) or _is(module, "torch.export._unlift.GuardsFn"):  # it refuses inputs
        return found
    if "digest_name" in vars(kind):
        return found | {name: own[name] for name in ("forward",) if name in own}
    found |= enclosed(kind)
    names = own.keys() - INTERNAL
    if not names:
        return found
    room, _, file = kind.__module__.rpartition(".")
    if room == "torch.nn.modules" and file in TOLD.split() and kind not in NOT_TOLD:
        untold = UNTOLD.get(kind, {})
        found |= {name: own[name] for name in untold if own.get(name, untold[name]) != untold[name]}
        told = _told(kind)  # type: ignore[arg-type]  # a class of modules is hashable
        names -= {name for name in told if not isinstance(own.get(name), Tensor)}
    else:
        names -= NOTES_OF.get(kind.__module__.partition(".")[0], frozenset())
    if isinstance(module, torch.fx.GraphModule):
        found["code"] = module.code
        names -= {*GRAPH.split()}
    return found | {name: own[name] for name in sorted(names - NOTES)}


def _own(module: nn.Module) -> dict[str, Any]:
    """The attributes of an instance, those in slots of its class too."""
    slots = [
        name
        for each in type(module).__mro__
        for name, value in vars(each).items()
        if isinstance(value, MemberDescriptorType) and hasattr(module, name)
    ]
    return vars(module) | {name: getattr(module, name) for name in slots}


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within wrappers that do not change its answers: parallel or compiled ones."""
    while _is_wrapper(model) and not _hooks(model):
        inner: Any = model.module if type(model) in PARALLEL else model._orig_mod
        model = inner
    return model


def _is_wrapper(module: nn.Module) -> bool:
    return type(module) in PARALLEL or _is(module, "torch._dynamo.eval_frame.OptimizedModule")


def _is(module: nn.Module, name: str) -> bool:
    """Whether a module is of a class that would take long to import."""
    return f"{type(module).__module__}.{type(module).__qualname__}" == name


def _hooks(module: nn.Module) -> dict[str, Any]:
    """The hooks around a forward pass, in their order, each with how it is called."""
    own = vars(module)
    found = {}
    for name, ways in (
        ("_forward_pre_hooks", ("_forward_pre_hooks_with_kwargs",)),
        ("_forward_hooks", ("_forward_hooks_with_kwargs", "_forward_hooks_always_called")),
    ):
        hooks = own.get(name)
        if hooks:
            called = [own.get(way) or {} for way in ways]
            found[name] = [
                (hook, *(number in each for each in called)) for number, hook in hooks.items()
            ]
    return found


@lru_cache(maxsize=1024)
def _told(kind: type[nn.Module]) -> frozenset[str]:
    """The attributes that a class of torch.nn makes from its arguments."""
    kinds = kind.__mro__[: kind.__mro__.index(nn.Module)]  # which has an annotation of `forward`
    annotated = [name for each in kinds for name in get_annotations(each)]
    constants = getattr(kind, "__constants__", ())
    sizes = ("_size", "_keys") if kind in (nn.ParameterList, nn.ParameterDict) else ()
    names = {*signature(kind.__init__).parameters, *annotated, *constants, *sizes}
    return frozenset(names - {"self", "args", "device", "dtype"})
