"""Hyperparameters and schedules as published, by method and dataset.

Sources: the authors' public training scripts and the commands in their READMEs.

- `gaussian` (Cohen et al. 2019, `locuslab/smoothing`): the script's defaults and the batch of 400
  in its list of experiments, the same for both datasets.
- `smoothadv` (Salman et al. 2019, `Hadisalman/smoothing-adversarial`): the paper sweeps attack,
  epsilon, T and m for every noise level, so there is no one setting. CIFAR-10 is its smallest PGD
  model (T = 2, epsilon = 0.25, m = 1), the one that DDRS takes too, with the schedule of its
  published command. ImageNet is its one-step PGD with epsilon = 1, the best of its models at radii
  0.75 to 1.5, with the script's defaults; the warm-up of 10 epochs is that of the CIFAR-10 command.
- `macer` (Zhai et al. 2020, `RuntianZ/macer`): the script's defaults for CIFAR-10; DDRS takes
  k = 64. The script has no ImageNet: its README gives the epochs, and a public reproduction
  (`mingyangyi/Lip`) k, lambda, the batch, the learning rate and its decay; beta and gamma are those
  of CIFAR-10. The milestones, for which no source could be checked, are those of the other ImageNet
  schedules, and one more in proportion.
- `consistency` (Jeong & Shin 2020, `jh-jeong/smoothing-consistency`): the script's defaults with
  m = 2 and lambda = 20, the paper's choice on CIFAR-10 at sigma 0.25; it takes 10 at sigma 0.5 and
  1. The script cuts its batches of 256 into m parts and makes a step with each, so a step has 128
  examples here. No source for ImageNet's schedule could be checked, so there is no such preset.

All of them train by SGD with momentum 0.9, not Nesterov's, with flips and crops. On ImageNet the
scripts crop to a random size and shape, which this library's crops do not.
"""

from dataclasses import dataclass

from ddrs.training.objectives.consistency import Consistency
from ddrs.training.objectives.gaussian import GaussianAugmentation
from ddrs.training.objectives.macer import Macer
from ddrs.training.objectives.objective import Objective
from ddrs.training.objectives.smoothadv import SmoothAdv
from ddrs.training.schedules import Schedule

__all__ = ["PRESETS", "TRAINING_PRESETS", "TrainingPreset"]


@dataclass(frozen=True)
class TrainingPreset:
    """How long to train, and how fast.

    Attributes:
        epochs: passes over the examples.
        batch_size: examples per step, in all processes together.
        lr: the first learning rate, and the highest.
        schedule: how it falls.
        milestones: epochs after which it falls, for `"step"`.
        gamma: factor by which it falls then.
        weight_decay: l2 penalty on the weights.
    """

    epochs: int
    batch_size: int
    lr: float
    schedule: Schedule
    milestones: tuple[int, ...]
    gamma: float
    weight_decay: float


PRESETS: dict[str, dict[str, Objective]] = {
    "gaussian": {"cifar10": GaussianAugmentation(), "imagenet": GaussianAugmentation()},
    "smoothadv": {
        "cifar10": SmoothAdv(attack="pgd", epsilon=0.25, steps=2, m=1, warmup=10),
        "imagenet": SmoothAdv(attack="pgd", epsilon=1.0, steps=1, m=1, warmup=10),
    },
    "macer": {
        "cifar10": Macer(k=16, weight=12.0, gamma=8.0, beta=16.0),
        "imagenet": Macer(k=2, weight=6.0, gamma=8.0, beta=16.0),
    },
    "consistency": {"cifar10": Consistency(m=2, weight=20.0, eta=0.5)},
}
"""Objective by method and dataset."""

TRAINING_PRESETS: dict[str, dict[str, TrainingPreset]] = {
    "gaussian": {
        "cifar10": TrainingPreset(90, 400, 0.1, "step", (30, 60), 0.1, 1e-4),
        "imagenet": TrainingPreset(90, 400, 0.1, "step", (30, 60), 0.1, 1e-4),
    },
    "smoothadv": {
        "cifar10": TrainingPreset(150, 256, 0.1, "step", (50, 100), 0.1, 1e-4),
        "imagenet": TrainingPreset(90, 256, 0.1, "step", (30, 60), 0.1, 1e-4),
    },
    "macer": {
        "cifar10": TrainingPreset(440, 64, 0.01, "step", (200, 400), 0.1, 5e-4),
        "imagenet": TrainingPreset(120, 256, 0.1, "step", (30, 60, 90), 0.1, 5e-4),
    },
    "consistency": {"cifar10": TrainingPreset(150, 128, 0.1, "step", (50, 100), 0.1, 1e-4)},
}
"""Schedule by method and dataset; the same keys as `PRESETS`."""
