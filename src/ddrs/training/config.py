"""What to train, and how.

The fields say in their metadata what the command line shows of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, get_args

from ddrs.errors import ConfigurationError
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES
from ddrs.noise.streams import check_seed
from ddrs.sigma.policy import check_range
from ddrs.training.objectives.methods import METHODS, Method, check_options, objective_class
from ddrs.training.schedules import GAMMA, Schedule, check_milestones
from ddrs.training.sigmas import SIGMA_PANEL, DataDependent

if TYPE_CHECKING:  # it loads torch, which takes a second: a training is described without it
    from ddrs.training.objectives.objective import Objective

__all__ = ["TrainingConfig", "preset"]

OBJECTIVE_PANEL, SCHEDULE_PANEL = "Objective", "Schedule"


@dataclass(frozen=True)
class TrainingConfig:
    """What to train, and how: by SGD with momentum 0.9.

    Attributes:
        method: name of the objective.
        options: hyperparameters of the objective by name; the others have their defaults.
        sigma: noise scale, in the units of the input.
        noise: name of the smoothing distribution.
        data_dependent: how each example gets a sigma of its own; None for `sigma` throughout.
        sigma_range: two bounds around `sigma` between which every example gets a sigma at random in
            every step (`draw_sigmas`). Not with `data_dependent`.
        epochs: passes over the examples.
        batch_size: examples per step, in all processes together.
        lr: the schedule's highest learning rate.
        schedule: how the learning rate changes (`Schedule`).
        milestones: epochs after which `"step"` lowers the learning rate.
        gamma: factor by which it does; another than the default is for `"step"` only.
        nesterov: Nesterov's momentum instead of the usual one.
        weight_decay: l2 penalty on the weights.
        augment: flip images and crop them at random.
        validation: examples to hold out, as a share below 1 or as a number; the weights of the
            epoch that classifies most of them correctly under noise are the result. With 0 those of
            the last epoch are.
        precision: `"bf16"` for forward and backward passes in bfloat16.
        seed: key of all randomness.

    Raises:
        ConfigurationError: a value that can never work.
    """

    method: Method = field(
        default="gaussian",
        metadata={
            "metavar": "NAME",
            "help": f"{', '.join(METHODS)}.",
            "panel": OBJECTIVE_PANEL,
        },
    )
    options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={
            "flag": "--option",
            "metavar": "NAME=VALUE",
            "help": "A hyperparameter of the objective, e.g. epsilon=0.5 (smoothadv: attack, "
            "epsilon, steps, m, warmup, relative), k=4 (macer: k, weight, gamma, beta) or "
            "weight=10 (consistency: m, weight, eta). Any number of times.",
            "panel": OBJECTIVE_PANEL,
        },
    )
    sigma: float = field(
        default=0.25, metadata={"metavar": "S", "help": "Sigma of the training noise."}
    )
    noise: str = field(
        default="gaussian",
        metadata={
            "metavar": "NAME",
            "help": "gaussian certifies l2 balls, uniform l1 balls.",
        },
    )
    data_dependent: DataDependent | None = field(
        default=None,
        metadata={
            "help": "Give every example a sigma of its own (Algorithm 2 of the paper).",
            "panel": SIGMA_PANEL,
        },
    )
    sigma_range: Sequence[float] | None = field(
        default=None,
        metadata={
            "metavar": "LOW,HIGH",
            "help": "Instead: a sigma between these at random for every example in every step, for "
            "a classifier that is certified at sigmas chosen per input.",
            "panel": SIGMA_PANEL,
        },
    )
    epochs: int = field(
        default=60,
        metadata={
            "metavar": "E",
            "help": "Passes over the data.",
            "panel": SCHEDULE_PANEL,
        },
    )
    batch_size: int = field(
        default=64,
        metadata={
            "metavar": "B",
            "help": "Examples per step.",
            "panel": SCHEDULE_PANEL,
        },
    )
    lr: float = field(
        default=0.1,
        metadata={
            "metavar": "LR",
            "help": "Highest learning rate.",
            "panel": SCHEDULE_PANEL,
        },
    )
    schedule: Schedule = field(
        default="one-cycle",
        metadata={"help": "How it changes.", "panel": SCHEDULE_PANEL},
    )
    milestones: Sequence[int] = field(
        default=(),
        metadata={
            "metavar": "E,E,...",
            "help": "Epochs after which step lowers it.",
            "panel": SCHEDULE_PANEL,
        },
    )
    gamma: float = field(
        default=GAMMA,
        metadata={
            "metavar": "G",
            "help": "Factor of step.",
            "panel": SCHEDULE_PANEL,
        },
    )
    nesterov: bool = True
    weight_decay: float = field(
        default=5e-4,
        metadata={
            "metavar": "W",
            "help": "l2 penalty on the weights.",
            "panel": SCHEDULE_PANEL,
        },
    )
    augment: bool = field(
        default=False,
        metadata={
            "flag": "--augment/--no-augment",
            "help": "Flip images and crop them at random. Default: no, but yes with a preset.",
            "panel": SCHEDULE_PANEL,
        },
    )
    validation: float = field(
        default=0.0,
        metadata={
            "metavar": "V",
            "help": "Training examples to hold out, a share below 1 or a number; the epoch that "
            "does best on them under noise is the result. With 0 it is the last.",
            "panel": SCHEDULE_PANEL,
        },
    )
    precision: Precision = field(
        default="fp32",
        metadata={"help": "Arithmetic of the passes.", "panel": SCHEDULE_PANEL},
    )
    seed: int = field(default=0, metadata={"metavar": "K", "help": "Key of all randomness."})

    def __post_init__(self) -> None:
        _check_choice("method", self.method, METHODS)
        _check_choice("noise", self.noise, NOISES)
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("precision", self.precision, get_args(Precision))
        self._check_numbers()
        check_seed(self.seed)
        check_milestones(self.schedule, self.milestones, self.gamma, self.epochs)
        check_options(self.method, self.options)
        self._check_sigmas()

    def _check_numbers(self) -> None:
        """Refuse a number out of its range."""
        if not (self.sigma >= 0 and isfinite(self.sigma)):
            raise ConfigurationError(f"sigma must be finite and at least 0, got {self.sigma}")
        if self.epochs < 1 or self.batch_size < 2 or not (self.lr > 0 and isfinite(self.lr)):
            raise ConfigurationError(
                "training needs epochs >= 1, batch_size >= 2 and a finite lr > 0, got "
                f"epochs={self.epochs}, batch_size={self.batch_size}, lr={self.lr}"
            )
        if not (self.weight_decay >= 0 and isfinite(self.weight_decay)):
            raise ConfigurationError(
                f"weight_decay must be finite and at least 0, got {self.weight_decay}"
            )
        share = self.validation
        if not 0 <= share < inf or not (share < 1 or float(share).is_integer()):
            raise ConfigurationError(
                f"validation must be a share from 0 to 1 or a whole number, got {share}"
            )

    def _check_sigmas(self) -> None:
        """Refuse what no example's sigma can follow."""
        if self.data_dependent is not None:
            self.data_dependent.check(self.sigma, self.epochs)
        if self.sigma_range is None:
            return
        if self.data_dependent is not None:
            raise ConfigurationError(
                "sigma_range draws the sigmas that data_dependent would choose: give one"
            )
        if len(self.sigma_range) != 2:
            raise ConfigurationError(f"sigma_range is two numbers, got {self.sigma_range}")
        check_range(self.sigma, *self.sigma_range)

    def record(self) -> dict[str, Any]:
        """The fields as plain data, the same after a round trip through JSON."""
        return dict(json.loads(json.dumps(asdict(self))))

    def objective(self) -> "Objective":
        """The objective that `method` and `options` name."""
        return objective_class(self.method)(**self.options)

    @property
    def sigma_bounds(self) -> tuple[float, float] | None:
        """The least and the largest sigma that an example may have; None where all have `sigma`."""
        if self.data_dependent is not None:
            return self.data_dependent.bounds(self.sigma)
        return None if self.sigma_range is None else check_range(self.sigma, *self.sigma_range)

    def adapts(self, epoch: int) -> bool:
        """Whether the sigmas of the examples change in this epoch."""
        return self.data_dependent is not None and epoch >= self.data_dependent.first_epoch(
            self.epochs
        )

    @property
    def passes(self) -> float:
        """Cost of the run, per example, in forward and backward passes of plain training."""
        cost = self.epochs * self.objective().passes
        if self.data_dependent is not None:
            adapting = self.epochs - self.data_dependent.first_epoch(self.epochs)
            cost += adapting * self.data_dependent.passes
        return cost


def preset(
    method: str, dataset: str, *, epochs: int | None = None, schedule: Schedule | None = None
) -> dict[str, Any]:
    """Fields of `TrainingConfig` as published for a method and a dataset (`objectives.presets`).

    Args:
        method: objective.
        dataset: what it was published for.
        epochs: another number of epochs; the milestones move in proportion.
        schedule: another schedule; milestones are of `"step"` alone.

    Raises:
        ConfigurationError: there is none.
    """
    from ddrs.training.objectives.presets import PRESETS, TRAINING_PRESETS

    known = [f"{name} for {method}" for method, found in PRESETS.items() for name in found]
    if dataset not in PRESETS.get(method, {}):
        raise ConfigurationError(
            f"there is no preset {dataset} for {method}: there are {', '.join(known)}"
        )
    published = TRAINING_PRESETS[method][dataset]
    epochs, schedule = epochs or published.epochs, schedule or published.schedule
    moved = {round(milestone * epochs / published.epochs) for milestone in published.milestones}
    return {
        **asdict(published),
        "epochs": epochs,
        "schedule": schedule,
        "milestones": sorted(moved - {0, epochs}) if schedule == "step" else [],
        "options": asdict(PRESETS[method][dataset]),
        "nesterov": False,
        "augment": True,
    }


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
