"""Training the base classifier under noise: objectives, and one loop that serves them all."""

from ddrs.training.checkpoint import read_scales
from ddrs.training.config import TrainingConfig, preset
from ddrs.training.estimates import Estimate, estimate
from ddrs.training.loop import NOT_FINITE_FILE, train
from ddrs.training.metrics import EpochMetrics, best_epoch
from ddrs.training.objectives import OBJECTIVES, Objective
from ddrs.training.schedules import Schedule
from ddrs.training.sigmas import DataDependent
from ddrs.training.splits import held_out
from ddrs.training.workers import Workers

__all__ = [
    "NOT_FINITE_FILE",
    "OBJECTIVES",
    "DataDependent",
    "EpochMetrics",
    "Estimate",
    "Objective",
    "Schedule",
    "TrainingConfig",
    "Workers",
    "best_epoch",
    "estimate",
    "held_out",
    "preset",
    "read_scales",
    "train",
]
