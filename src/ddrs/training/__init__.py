"""Training the base classifier under noise: objectives, and one loop that serves them all."""

from ddrs.training.loop import EpochMetrics, TrainingConfig, train
from ddrs.training.objectives import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "EpochMetrics", "Objective", "TrainingConfig", "train"]
