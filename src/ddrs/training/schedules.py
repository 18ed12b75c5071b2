"""How the learning rate goes up and down."""

from collections.abc import Sequence
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from ddrs.errors import ConfigurationError

__all__ = ["Schedule", "check_milestones", "make_schedule"]

Schedule = Literal["one-cycle", "cosine", "step"]


def make_schedule(
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    lr: float,
    epochs: int,
    steps: int,
    milestones: Sequence[int],
    gamma: float,
) -> LRScheduler:
    """A schedule that goes on after every step.

    Args:
        optimizer: its learning rate is changed; for `"one-cycle"` its momentum too.
        schedule: `"one-cycle"` rises from lr/25 over the first 30 % and then falls to next to
            nothing, `"cosine"` falls from lr to 0, `"step"` is lr times gamma for each milestone.
        lr: the highest learning rate.
        epochs: epochs in all.
        steps: steps an epoch.
        milestones: epochs after which `"step"` lowers the learning rate.
        gamma: factor by which it does.
    """
    if schedule == "one-cycle":
        return OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * steps)
    if schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=epochs * steps)
    return MultiStepLR(optimizer, [epoch * steps for epoch in milestones], gamma)


def check_milestones(
    schedule: Schedule, milestones: Sequence[int], gamma: float, epochs: int
) -> None:
    """Refuse milestones that would not be met, or that the schedule does not have.

    Raises:
        ConfigurationError: a value that can never work.
    """
    if schedule != "step":
        if milestones:
            raise ConfigurationError(
                f"milestones are for the schedule step, not {schedule}: choose one of the two"
            )
        return
    if not milestones or list(milestones) != sorted({*milestones}):
        raise ConfigurationError(
            f"the schedule step needs milestones, each above the one before, got {milestones}"
        )
    if not 0 < milestones[0] <= milestones[-1] < epochs or not 0 < gamma < 1:
        raise ConfigurationError(
            f"milestones must lie between 0 and the {epochs} epochs, and gamma between 0 and 1, "
            f"got {milestones} and gamma={gamma}"
        )
