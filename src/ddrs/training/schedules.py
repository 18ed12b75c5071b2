"""How the learning rate goes up and down."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:  # torch takes a second to load: imported where a schedule is made
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from ddrs.training.config import TrainingConfig

__all__ = ["GAMMA", "Schedule", "check_milestones", "make_schedule"]

Schedule = Literal["one-cycle", "cosine", "step"]
"""`"one-cycle"` rises from lr/25 over the first 30 % and then falls to next to nothing, `"cosine"`
falls from lr to 0, `"step"` is lr times gamma for each milestone."""

GAMMA = 0.1
"""The factor of `"step"` where none is given."""


def make_schedule(optimizer: "Optimizer", config: "TrainingConfig", steps: int) -> "LRScheduler":
    """The schedule of a training, which moves after every step.

    Args:
        optimizer: its learning rate is changed; for `"one-cycle"` its momentum too.
        config: the training.
        steps: steps per epoch.
    """
    from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR

    if config.schedule == "one-cycle":
        return OneCycleLR(optimizer, max_lr=config.lr, total_steps=config.epochs * steps)
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=config.epochs * steps)
    milestones = [epoch * steps for epoch in config.milestones]
    return MultiStepLR(optimizer, milestones, config.gamma)


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
        if gamma != GAMMA:
            raise ConfigurationError(
                f"gamma is of the schedule step, not of {schedule}: leave one of them out"
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
