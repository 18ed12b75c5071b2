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

FAR_OFF = 1000.0
"""How many times as far as the best scores those of masked classes lie, which round otherwise."""

ADVICE = (
    "votes must be independent: give a network that scores each input by itself, always the same"
)


def check_independent(
    network: Callable[[Tensor], Tensor], rows: Tensor, precision: Precision
) -> None:
    """Run one row between two copies of another, and alone: two small passes.

    Between the copies it has company, another place, and neither the first nor the last one; the
    copies differ in nothing but their place. It costs what some ten votes in full batches cost.

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
            if name not in before or not _same_values(buffer, before[name])
        ]
        for name, buffer in model.named_buffers():
            if name in changed and name in before:
                buffer.copy_(before[name])
        if changed:
            raise ModelError(
                f"the model changes its buffer {changed[0]} as it runs, as batch normalisation in "
                f"training mode does; {ADVICE}"
            )


def _same_values(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)  # NaN is equal to itself


class _Same:
    """Whether two rows of scores differ by no more than rounding.

    Scores a thousand times as far off as the two best ones of any row, such as those of classes
    that are masked out, say nothing of how the others round: each kind is measured by its own.
    """

    def __init__(self, scores: Tensor, precision: Precision) -> None:
        self._of_range, self._of_size = ROUNDING[precision]
        scores = scores.double()
        best = scores.topk(2, dim=1).values
        best = best[best.isfinite()]
        self._reach = FAR_OFF * float(best.abs().max()) if len(best) else 0.0
        self._near = self._tolerance(scores[scores.abs() <= self._reach])
        self._far = self._tolerance(scores[scores.isfinite()])

    def _tolerance(self, scores: Tensor) -> float:
        if not len(scores):
            return 0.0
        width = float(scores.max() - scores.min())
        return self._of_range * width + self._of_size * float(scores.abs().max())

    def __call__(self, one: Tensor, other: Tensor) -> bool:
        one, other = one.double(), other.double()
        off = torch.where(one == other, 0.0, (one - other).abs())
        near = torch.minimum(one.abs(), other.abs()) <= self._reach
        return bool((off <= torch.where(near, self._near, self._far)).all())
