"""How a network is run: in which memory layout and arithmetic, batch by batch, checked."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ddrs.errors import ModelError, one_line
from ddrs.networks.frozen import frozen
from ddrs.networks.precision import Precision

__all__ = [
    "EagerNetwork",
    "Forward",
    "Network",
    "check_ready",
    "check_scores",
    "count_classes",
    "number_type",
]

Key = TypeVar("Key")

# glibc gives back every freed block larger than a threshold of first 128 kB to the system, so that
# each layer of a network has to have its pages mapped and cleared anew. Freeing a block raises the
# threshold to its size; 32 MB is the most it takes.
LARGEST_BLOCK = 2**25 - 2**16


COMPARABLE = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    | {torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64}
)
"""The types of scores of which torch finds the largest."""


# Quantised by the range of a whole batch. One row may have all of it, so no test of rows tells.
DYNAMIC_MODULES = "torch.ao.nn.quantized.dynamic"
DYNAMIC_CALLS = re.compile(
    r"quantized(::|\.)\w*_dynamic|::quantized_(lstm|gru)|choose_qparams(_symmetric)?\.tensor"
)


class Forward(nn.Module):
    """A model, run in one precision and in the memory layout that suits it; differentiable.

    Its parameters, buffers and mode are those of the model.

    Args:
        model: maps `[batch, *input]` to scores; it is shared, not copied.
        precision: `"bf16"` runs it under autocast to bfloat16.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self._bf16 = precision == "bf16"
        # Convolutions on a CPU are a third faster and more in this layout, and a tenth in training.
        self._channels_last = any(isinstance(m, nn.Conv2d) for m in model.modules())
        self._cast = number_type(model)
        self._settled = False  # whether the model has been seen to take that layout

    def forward(self, x: Tensor) -> object:
        """What the model gives for `[batch, *input]`; scores in half precision become float32.

        A network whose weights are all of another floating type than float32 gets its inputs in
        that type: the cast is part of the classifier, and its noise was added before.
        """
        if self._cast != torch.float32 and x.is_floating_point():
            x = x.to(self._cast)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bf16):
            scores = self._run(x)
        if isinstance(scores, Tensor) and scores.dtype in (torch.float16, torch.bfloat16):
            return scores.float()
        return scores

    def _run(self, x: Tensor) -> object:
        if self._channels_last and x.ndim == 4:
            try:
                scores = self.model(x.contiguous(memory_format=torch.channels_last))
                self._settled = True
                return scores
            except RuntimeError:  # a model may insist on the usual layout, by calling `view`
                if self._settled:
                    raise
                self._channels_last = False
        return self.model(x.contiguous())


class Network(Protocol):
    """A classifier as the vote loop runs it."""

    def run(self, batches: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
        """Scores `[rows, num_classes]` for keyed batches `[rows, *input]`, in their order.

        Raises:
            ModelError: the model raised, or did not return one score per class, or returned NaN.
        """


class EagerNetwork:
    """The user's model itself, run by torch.

    Args:
        model: maps `[batch, *input]` to `[batch, num_classes]` scores.
        num_classes: the number of scores.
        precision: `"bf16"` runs it under autocast.
    """

    def __init__(self, model: nn.Module, num_classes: int, precision: Precision) -> None:
        self._forward = Forward(model, precision)
        self._num_classes = num_classes
        torch.empty(LARGEST_BLOCK, dtype=torch.uint8)  # never touched, and freed at once

    def run(self, batches: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, Tensor]]:
        """One batch after the other."""
        for key, batch in batches:
            yield key, self(batch)

    def __call__(self, batch: Tensor) -> Tensor:
        """One forward pass, checked and differentiable; arguments and errors are those of `run`."""
        try:
            scores = self._forward(batch)
        except Exception as error:
            hint = "; give it float32 inputs" if batch.dtype == torch.float64 else ""
            raise ModelError(
                f"the model failed on a {batch.dtype} batch of shape {list(batch.shape)}: "
                f"{one_line(error)}{hint}"
            ) from error
        return check_scores(scores, len(batch), self._num_classes)


def check_scores(scores: object, rows: int, num_classes: int) -> Tensor:
    """`scores` if they are a tensor `[rows, num_classes]` that decides the class of every row.

    Raises:
        ModelError: they are something else, or hold NaN; it says what to return.
    """
    expected = [rows, num_classes]
    fault = _fault(scores)
    if fault is not None or not isinstance(scores, Tensor):
        raise ModelError(
            f"the model must return scores of shape {expected} ([batch, num_classes]), got {fault}"
        )
    if list(scores.shape) != expected:
        raise ModelError(
            f"the model must return scores of shape {expected} ([batch, num_classes]), "
            f"got {list(scores.shape)}"
        )
    missing = scores.detach().isnan()
    if missing.any():
        undecided = int(missing.any(dim=1).sum())
        raise ModelError(
            f"the model returned NaN scores for {undecided} of {rows} rows; certify a model that "
            "is finite"
        )
    return scores


def number_type(model: nn.Module) -> torch.dtype:
    """The floating type of a model's weights; float32 where it has none, or several."""
    types = {value.dtype for value in model.parameters() if value.is_floating_point()}
    return types.pop() if len(types) == 1 else torch.float32


def check_ready(model: nn.Module) -> None:
    """Refuse a model whose weights have no values yet, or whose rows share a scale.

    Raises:
        ModelError: it has lazy modules that never ran, weights on the meta device, or modules that
            are quantised dynamically.
    """
    for name, module in model.named_modules():
        if type(module).__module__.startswith(DYNAMIC_MODULES) or (
            DYNAMIC_CALLS.search(_program(module)) is not None
        ):
            raise ModelError(
                f"{name or 'the model'} is quantised dynamically, by the range of a whole batch, "
                "but votes must be independent: certify the network that it was made of, or "
                "quantise that statically"
            )
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(value):
            raise ModelError(
                f"{name} of the model has no shape yet, as its lazy module never ran: run the "
                "model once on a batch of inputs"
            )
        if value.device.type == "meta":
            raise ModelError(f"{name} of the model is on the meta device: load its weights")


def _program(module: nn.Module) -> str:
    """The text of a program of TorchScript or of a graph; empty for what is none."""
    if isinstance(module, torch.fx.GraphModule):
        return str(module.code)
    if isinstance(module, torch.jit.ScriptModule):
        with suppress(RuntimeError):  # it has no forward
            return str(module.graph)
    return ""


def count_classes(network: nn.Module, x: Tensor, *, to_train: bool = False) -> int:
    """The number of scores that a network gives for inputs like `x`.

    The network is only looked at: its weights, buffers and mode stay as they are. As this is its
    first pass, it also settles the memory layout.

    Args:
        network: the `Forward` of a model.
        x: `[batch, *input]` inputs.
        to_train: whether it must have weights to train, and scores with a gradient.

    Raises:
        ModelError: it fails, does not return one score per class, or cannot be trained.
    """
    if to_train and not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError("the model has no weights that can be trained")
    try:
        with frozen(network) as model, torch.no_grad():
            scores = model(x)
    except Exception as error:
        raise ModelError(
            f"the model failed on inputs of shape {list(x.shape[1:])}: {one_line(error)}; choose "
            "one for inputs of this shape"
        ) from error
    must = "the model must return scores of shape [batch, classes] for two classes at least, got"
    fault = _fault(scores)
    if fault is not None or not isinstance(scores, Tensor):
        raise ModelError(f"{must} {fault}")
    if scores.ndim != 2 or len(scores) != len(x) or scores.shape[1] < 2:
        raise ModelError(f"{must} {list(scores.shape)} for a batch of {len(x)}")
    if to_train and not scores.is_floating_point():
        raise ModelError(f"{must} {scores.dtype}, which has no gradient: return floats")
    return int(scores.shape[1])


def _fault(scores: object) -> str | None:
    """What keeps scores from being compared, and what to return instead; None if nothing does."""
    kind = type(scores).__name__
    if not isinstance(scores, Tensor):
        if isinstance(scores, Mapping) and not hasattr(scores, "logits"):
            return f'{kind}: return the tensor of scores in it, such as out["logits"]'
        if isinstance(scores, list | tuple) and not hasattr(scores, "logits"):
            return f"{kind}: return the tensor of scores in it, such as out.logits or out[0]"
        return f"{kind}: return the tensor of scores, such as out.logits"
    if scores.is_quantized:
        return "quantised scores: return out.dequantize()"
    if scores.is_nested or scores.layout != torch.strided:
        return f"{'nested' if scores.is_nested else 'sparse'} scores: return out.to_dense()"
    if scores.device.type == "meta":
        return "scores without values: put the model on a device other than meta"
    if scores.dtype not in COMPARABLE:
        dtype = str(scores.dtype).removeprefix("torch.")
        return f"{dtype} scores: return real numbers, such as out.float() or out.abs()"
    return None
