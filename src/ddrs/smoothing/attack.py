"""An attack on certified inputs: points at given distances where the answer is least likely."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ddrs.errors import InputError, ModelError, one_line
from ddrs.networks.frozen import frozen
from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import Norm
from ddrs.training.objectives.attacks import pgd

__all__ = ["Box", "box_of", "doubtful", "lengths", "per_row", "pushed"]

PUSHES = 200  # each brings a length closer to the one asked for
Box = tuple[float, float]
UNIT: Box = (0.0, 1.0)
UNBOUNDED: Box = (-torch.inf, torch.inf)


def box_of(inputs: Iterable[Tensor]) -> Box:
    """The box that points stay in: [0, 1] if all inputs do, which are then taken for images."""
    return UNIT if all(_within(x, UNIT) for x in inputs) else UNBOUNDED


def doubtful(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    sigma: Tensor,
    distance: Tensor,
    draws: Tensor,
    *,
    steps: int,
    norm: Norm = "l2",
    box: Box = UNIT,
) -> Tensor:
    """Points at given distances where PGD makes the smoothed classifier doubt its classes.

    PGD lowers the mean softmax of the class over noisy copies (Salman et al. 2019, section 3); what
    it finds is pushed on to the distance. Each row is attacked by itself.

    Args:
        model: the base classifier; it comes back as it was.
        x: `[batch, *input]` inputs.
        y: `[batch]` classes to get away from.
        sigma: `[batch]` the sigma of each input.
        distance: `[batch]` distances, above 0, in the units of the input.
        draws: `[batch, m, *input]` noise at sigma 1, the same for every step.
        steps: gradients to take.
        norm: the norm of the distances.
        box: the least and the largest value of a coordinate.

    Returns:
        `[batch, *input]` points in the box.

    Raises:
        InputError: inputs outside of the box.
        ModelError: the network has no gradients.
    """
    if not _within(x, box):
        raise InputError(
            f"the attack takes inputs from {box[0]:g} to {box[1]:g}, got values from "
            f"{x.min().item():.6g} to {x.max().item():.6g}"
        )
    with frozen(model) as network:

        def scores(point: Tensor) -> Tensor:
            return noisy_scores(network, point, sigma, draws)

        try:
            point = pgd(scores, x, y, distance.to(x), steps, norm=norm, box=box)
        except RuntimeError as error:
            raise ModelError(
                f"the attack needs a network that gives gradients: {one_line(error)}"
            ) from error
    return pushed(x, point, distance, norm=norm, box=box)


def pushed(
    x: Tensor,
    point: Tensor,
    distance: Tensor,
    *,
    norm: Norm = "l2",
    box: Box = UNIT,
) -> Tensor:
    """The points in the box at these distances from `x`, in the directions of `point`.

    Where the border cuts a change short the rest of it grows to make up for that. A change with
    nothing left to grow stays shorter than asked; none becomes longer.

    Args:
        x: `[batch, *input]` inputs in the box.
        point: `[batch, *input]` where each direction leads.
        distance: `[batch]` distances.
        norm: the norm of the distances.
        box: the least and the largest value of a coordinate.
    """
    start, wanted = x.double(), per_row(distance.double(), x)
    change = point.double() - start
    for _ in range(PUSHES):
        now = per_row(lengths(change, norm), x).clamp(min=1e-12)  # a change of 0 stays 0
        change = (start + change * (wanted / now)).clamp(*box) - start
    return (start + change).to(x.dtype)


def lengths(change: Tensor, norm: Norm = "l2") -> Tensor:
    """`[batch]` lengths, in float64."""
    order = {"l1": 1, "l2": 2}[norm]
    found: Tensor = torch.linalg.vector_norm(change.double().flatten(1), ord=order, dim=1)
    return found


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """`[batch]` values in a shape that goes with `x`, `[batch, *input]`."""
    return values.view(-1, *[1] * (x.ndim - 1))


def _within(x: Tensor, box: Box) -> bool:
    return bool(((x >= box[0]) & (x <= box[1])).all())
