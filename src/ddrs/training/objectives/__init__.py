"""Training objectives: a batch and its noise scales -> a loss.

To add one, write a module beside `gaussian` with a frozen dataclass that meets `Objective` and has
a default for every field, enter it in `OBJECTIVES`, and give it five lines of test that inherit
the suite.
"""

from ddrs.training.objectives.gaussian import Gaussian
from ddrs.training.objectives.macer import Macer
from ddrs.training.objectives.objective import Objective
from ddrs.training.objectives.presets import PRESETS, TRAINING_PRESETS, TrainingPreset
from ddrs.training.objectives.smoothadv import SmoothAdv

__all__ = [
    "OBJECTIVES",
    "PRESETS",
    "TRAINING_PRESETS",
    "Gaussian",
    "Macer",
    "Objective",
    "SmoothAdv",
    "TrainingPreset",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "gaussian": Gaussian,
    "smoothadv": SmoothAdv,
    "macer": Macer,
}
"""Every objective by the name that `ddrs train --method` gives it."""
