"""Training the base classifier under noise: objectives, and one loop that serves them all."""

from ddrs.training.config import TrainingConfig
from ddrs.training.loop import train
from ddrs.training.metrics import EpochMetrics, best_epoch
from ddrs.training.objectives import OBJECTIVES, Objective
from ddrs.training.sigmas import DataDependent
from ddrs.training.splits import held_out

__all__ = [
    "OBJECTIVES",
    "DataDependent",
    "EpochMetrics",
    "Objective",
    "TrainingConfig",
    "best_epoch",
    "held_out",
    "train",
]
