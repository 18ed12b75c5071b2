"""Attacks on a smoothed classifier: inputs -> nearby inputs that it gets wrong.

An attack sees the classifier as a function of a `[batch, *input]` point that gives the scores
`[batch, copies, classes]` at noisy copies of it. The noise of the copies is fixed, and each row of
the scores depends on its own row of the point alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ddrs.noise.distributions import Norm
from ddrs.training.objectives.noisy import smoothed_loss

__all__ = ["ATTACKS", "Attack", "ddn", "pgd"]

Scores = Callable[[Tensor], Tensor]
Attack = Callable[[Scores, Tensor, Tensor, Tensor, int], Tensor]

NORM_FACTOR = 0.05
"""DDN's norm shrinks or grows by this share per step (gamma of Rony et al. 2019)."""

LAST_STEP = 0.01
"""DDN's step length falls from 1 to this along a half cosine (Rony et al. 2019)."""


def pgd(
    scores: Scores,
    x: Tensor,
    y: Tensor,
    epsilon: Tensor,
    steps: int,
    *,
    norm: Norm = "l2",
    box: tuple[float, float] = (0, 1),
) -> Tensor:
    """Projected gradient ascent of the smoothed loss (Salman et al. 2019, section 3).

    Each step has length 2 epsilon / steps in the direction of steepest ascent, and ends with a
    return to the ball and to the box. For l2 that is the gradient; for l1 it is the coordinate of
    largest slope that can still move. It starts at `x`. Where the gradient is 0 the point stays.

    Args:
        scores: the classifier; see the module.
        x: `[batch, *input]` inputs in the box.
        y: `[batch]` labels.
        epsilon: `[batch]` radius of the ball around each input; 0 leaves it as it is.
        steps: gradients to take.
        norm: of the ball.
        box: the least and the largest value of a coordinate.

    Returns:
        `[batch, *input]` points in the ball and in the box.
    """
    point, length = x, 2 * epsilon.view(_shape(x)) / steps
    for _ in range(steps):
        _, slope = _look(scores, point, y)
        direction = _unit(slope) if norm == "l2" else _steepest(slope, point, box)
        point = _project(x, point + length * direction - x, epsilon, norm, box)
    return point


def ddn(scores: Scores, x: Tensor, y: Tensor, epsilon: Tensor, steps: int) -> Tensor:
    """Decoupled direction and norm (Rony et al. 2019), as Salman et al. 2019 train with it.

    A step along the gradient sets the direction of the perturbation; its norm, epsilon at first,
    shrinks where the smoothed classifier (the class of largest mean softmax) is already wrong and
    grows elsewhere. Of the points looked at, the nearest one with a wrong class is taken, and
    projected to the ball; an input without one is kept as it is. Unlike the public code this does
    not round to 256 grey levels: the noise that follows would undo it.

    Arguments and result are those of `pgd`.
    """
    point, best = x, x
    norm = epsilon.view(_shape(x))
    nearest = torch.full_like(norm, math.inf)
    for step in range(steps):
        seen, slope = _look(scores, point, y)
        wrong = (seen.softmax(-1).mean(1).argmax(-1) != y).view(norm.shape)
        distance = _norm(point - x)
        found = wrong & (distance < nearest)
        best, nearest = torch.where(found, point, best), torch.where(found, distance, nearest)
        norm = torch.where(wrong, (1 - NORM_FACTOR) * norm, (1 + NORM_FACTOR) * norm)
        length = LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * step / steps)) / 2
        point = (x + norm * _unit(point - x + length * _unit(slope))).clamp(0, 1)
    return _project(x, best - x, epsilon)


ATTACKS: dict[str, Attack] = {"pgd": pgd, "ddn": ddn}
"""Every attack by its name."""


def _look(scores: Scores, point: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The scores at the point, and the gradient there of each row's smoothed loss."""
    with torch.enable_grad():
        variable = point.detach().requires_grad_()
        seen = scores(variable)
        (slope,) = torch.autograd.grad(smoothed_loss(seen, y).sum(), variable)
    return seen.detach(), slope


def _project(
    x: Tensor,
    change: Tensor,
    epsilon: Tensor,
    norm: Norm = "l2",
    box: tuple[float, float] = (0, 1),
) -> Tensor:
    """The point x + change in the box, the change no longer than epsilon.

    For x in the box the clamp brings every coordinate closer to x, so the ball is not left again.
    """
    radius, length = epsilon.view(_shape(x)), _norm(change, norm)
    return (x + change * torch.where(length > radius, radius / length, 1)).clamp(*box)


def _unit(change: Tensor) -> Tensor:
    """Each row at l2 length 1; rows of zeros stay.

    The largest entry is divided out first: the squares of a confident classifier's gradient are
    often below the least positive number.
    """
    largest = change.flatten(1).abs().amax(1).view(_shape(change))
    scaled = change / torch.where(largest > 0, largest, 1)
    return scaled / _norm(scaled).clamp(min=1)  # below 1 only where the row is 0


def _steepest(slope: Tensor, point: Tensor, box: tuple[float, float]) -> Tensor:
    """Each row's unit step in l1 that raises the loss most and does not start out of the box."""
    free = torch.where(slope > 0, point < box[1], point > box[0])
    size = torch.where(free, slope.abs(), 0).flatten(1)
    largest = size.argmax(1, keepdim=True)
    step = torch.zeros_like(size).scatter_(1, largest, (size.gather(1, largest) > 0).to(size))
    return step.view_as(slope) * slope.sign()


def _norm(change: Tensor, norm: Norm = "l2") -> Tensor:
    """`[batch, 1, ...]` lengths of the rows."""
    order = {"l1": 1, "l2": 2}[norm]
    lengths: Tensor = torch.linalg.vector_norm(change.flatten(1), ord=order, dim=1)
    return lengths.view(_shape(change))


def _shape(change: Tensor) -> tuple[int, ...]:
    return (-1, *[1] * (change.ndim - 1))
