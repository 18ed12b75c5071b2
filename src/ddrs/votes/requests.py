"""What is voted on: a checked batch of inputs, and requests for votes at them.

torch is imported with the first batch: policies name these types without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import InputError
from ddrs.inputs import as_array, input_digest
from ddrs.noise.streams import Source, Stream

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Inputs", "VoteRequest"]


@dataclass(frozen=True)
class Inputs:
    """A batch of inputs, and the seed that keys the noise for each of them.

    Args:
        x: `[batch, *input]` floating point tensor.
        seed: the seed of all random streams.
        digests: SHA-256 of each input.
        source: makes the source of noise for (seed, input digest, stage, shape).
    """

    x: Tensor
    seed: int
    digests: tuple[str, ...]
    source: Callable[[int, str, str, tuple[int, ...]], Source] = Stream

    @classmethod
    def of(cls, x: Tensor | npt.NDArray[Any], seed: int) -> Inputs:
        """Check a user's batch and take its digests; a NumPy array keeps its precision.

        Raises:
            InputError: not a batch of floating point inputs, empty inputs, NaN or infinite values.
        """
        import torch
        from torch import Tensor

        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype.itemsize <= 8:
            x = torch.tensor(as_array(x))
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
            known = isinstance(x, Tensor | np.ndarray)
            what = f"{x.dtype} {list(x.shape)}" if known else type(x).__name__
            raise InputError(f"inputs must be a float tensor [batch, ...], got {what}{_advice(x)}")
        if prod(x.shape[1:]) == 0:
            raise InputError(f"inputs of shape {list(x.shape[1:])} have no elements")
        x = x.detach().clone()  # what becomes of the caller's tensor changes nothing
        finite = x.isfinite().flatten(1).all(dim=1)
        if not finite.all():
            bad = (~finite).nonzero().flatten().tolist()
            raise InputError(f"inputs {bad[:5]} of the batch hold NaN or infinite values")
        rows = x.to("cpu", torch.float64).numpy()
        return cls(x, seed, tuple(map(input_digest, rows)))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, rows: Sequence[int]) -> Inputs:
        """The inputs at the given positions."""
        digests = tuple(self.digests[row] for row in rows)
        return replace(self, x=self.x[list(rows)], digests=digests)

    def stream(self, row: int, stage: str) -> Source:
        """The noise of one stage for the input at `row`, from its first draw on."""
        return self.source(self.seed, self.digests[row], stage, self.shape)


def _advice(x: object) -> str:
    """What to do with inputs that are no batch of floating point numbers."""
    kind = str(getattr(x, "dtype", "")).removeprefix("torch.")
    if kind == "uint8":
        return ": radii are in the units of the input, so scale pixels yourself, as in x / 255"
    if kind.startswith(("int", "uint", "bool")):
        return ": make floats of them in the units that radii are to have"
    if kind.startswith("float"):
        return ": one input alone needs a batch axis, as in x[None]"
    return ""


@dataclass
class VoteRequest:
    """Ask for the next `n` draws of `stream`, scaled by `sigma`, as votes at input `row`."""

    row: int
    sigma: float
    n: int
    stream: Source
