"""Whether a network is a function of one input alone, as far as a few rows can tell.

Votes are independent only if the scores of a row do not depend on its company in the batch, on its
place there, or on what was asked before. A certificate from other votes is false. This check sees
the usual ways to break that. A network that behaves only while it is watched, or that misbehaves
rarely, passes: no test of a few rows can tell.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ddrs.errors import ModelError
from ddrs.networks.precision import Precision

__all__ = ["ROWS", "check_independent", "unchanged_buffers"]

ROWS = 2
"""How many rows the check takes."""

# How far scores may differ by rounding, as a share of their range and of their size: batches of
# another size are summed in another order. Real dependence moves them by a share of the range.
ROUNDING: dict[Precision, tuple[float, float]] = {"fp32": (1e-3, 1e-5), "bf16": (5e-2, 1e-2)}

ADVICE = (
    "votes must be independent: give a network that scores each input by itself, always the same"
)


def check_independent(
    network: Callable[[Tensor], Tensor], rows: Tensor, precision: Precision
) -> None:
    """Run one row between two copies of another, and alone: two small passes.

    Between the copies it has company, another place, and neither the first nor the last one; the
    copies differ in nothing but their place. It costs what seven or eight votes cost.

    Args:
        network: `[batch, *input]` -> `[batch, num_classes]` scores, frozen.
        rows: `[ROWS, *input]` noisy inputs, all different.
        precision: the arithmetic of the network.

    Raises:
        ModelError: the scores of a row depend on more than the row, or the input was changed.
    """

    def scores(*which: int) -> Tensor:
        batch = rows[list(which)]
        if batch.ndim == 4:  # as it is run, so that the model sees this tensor and no copy
            batch = batch.contiguous(memory_format=torch.channels_last)
        found = network(batch)
        if not torch.equal(batch, rows[list(which)]):
            raise ModelError(
                "the model writes into its input; votes must be independent: let it begin with "
                "x = x.clone()"
            )
        return found

    among = scores(1, 0, 1)
    try:
        (alone,) = scores(0)
    except ModelError as error:
        if "writes into" in str(error):
            raise
        raise ModelError(f"the model scores 3 inputs together, but not 1 alone: {error}") from error
    same = _Same(among, precision)
    if same(alone, among[1]) and same(among[0], among[2]):
        return
    if not all(same(scores(0)[0], alone) for _ in range(2)):
        what = "the same input alone has other scores the second time: the model draws or counts"
    elif not same(scores(0, 1, 1)[0], alone):
        what = "an input has other scores alone than among others: the model looks at the batch"
    else:
        what = "an input has other scores in another place of the batch or among other inputs"
    raise ModelError(f"{what}; {ADVICE}")


@contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """Refuse a model whose forward passes change its buffers, and put back what they were.

    Raises:
        ModelError: the buffers changed, as those of batch normalisation in training mode do.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        changed = [
            name
            for name, buffer in model.named_buffers()
            if name not in before or not torch.equal(_bytes(buffer), _bytes(before[name]))
        ]
        for name, buffer in model.named_buffers():
            if name in changed and name in before:
                buffer.copy_(before[name])
        if changed:
            raise ModelError(
                f"the model changes its buffer {changed[0]} as it runs, as batch normalisation in "
                f"training mode does; {ADVICE}"
            )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)  # NaN is equal to itself


class _Same:
    """Whether two rows of scores differ by no more than rounding."""

    def __init__(self, scores: Tensor, precision: Precision) -> None:
        finite = scores.double()[scores.isfinite()]
        of_range, of_size = ROUNDING[precision]
        self._tolerance = 0.0
        if len(finite):
            width = float(finite.max() - finite.min())
            self._tolerance = of_range * width + of_size * float(finite.abs().max())

    def __call__(self, one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one.double(), other.double(), rtol=0.0, atol=self._tolerance)
