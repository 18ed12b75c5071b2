"""How a classifier is run: batches in, scores out, in order."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from ddrs.errors import ModelError
from ddrs.networks.precision import Precision

__all__ = ["EagerNetwork", "Network", "check_scores"]

Key = TypeVar("Key")

# glibc gives back every freed block larger than a threshold of first 128 kB to the system, so that
# each layer of a network has to have its pages mapped and cleared anew. Freeing a block raises the
# threshold to its size; 32 MB is the most it takes.
LARGEST_BLOCK = 2**25 - 2**16


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
        self._model = model
        self._num_classes = num_classes
        self._precision = precision
        # Convolutions on a CPU are a third faster and more in this layout.
        self._channels_last = any(isinstance(m, nn.Conv2d) for m in model.modules())
        self._settled = False  # whether the model has been seen to take that layout
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
            raise ModelError(
                f"the model failed on a {batch.dtype} batch of shape {list(batch.shape)}: {error}"
            ) from error
        return check_scores(scores, len(batch), self._num_classes)

    def _forward(self, batch: Tensor) -> object:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            if self._channels_last and batch.ndim == 4:
                try:
                    scores = self._model(batch.contiguous(memory_format=torch.channels_last))
                    self._settled = True
                    return scores
                except RuntimeError:  # a model may insist on the usual layout, by calling `view`
                    if self._settled:
                        raise
                    self._channels_last = False
            return self._model(batch.contiguous())


def check_scores(scores: object, rows: int, num_classes: int) -> Tensor:
    """`scores` if they are a tensor `[rows, num_classes]` without NaN; ModelError if not."""
    expected = (rows, num_classes)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ModelError(
            f"the model must return scores of shape {list(expected)} "
            f"([batch, num_classes]), got {got}"
        )
    if scores.detach().isnan().any():
        raise ModelError("the model returned NaN scores; certify a model that is finite")
    return scores
