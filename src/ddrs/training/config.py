"""What to train, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, get_args

from ddrs.errors import ConfigurationError
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES
from ddrs.noise.streams import check_seed
from ddrs.sigma.policy import check_range
from ddrs.training.objectives import OBJECTIVES
from ddrs.training.objectives.objective import Objective
from ddrs.training.objectives.presets import PRESETS, TRAINING_PRESETS
from ddrs.training.schedules import Schedule, check_milestones
from ddrs.training.sigmas import DataDependent

__all__ = ["TrainingConfig", "preset"]

OBJECTIVE_PANEL, SCHEDULE_PANEL = "Objective", "Schedule"
SIGMAS_PANEL = "A sigma for each example"


@dataclass(frozen=True)
class TrainingConfig:
    """What to train, and how: by SGD with momentum 0.9.

    `dataclasses.asdict` gives plain data, the same after a round trip through JSON.

    Attributes:
        method: a name in `OBJECTIVES`.
        options: hyperparameters of the objective by name; the others have their defaults.
        sigma: noise scale, in the units of the input.
        noise: `"gaussian"` or `"uniform"`.
        data_dependent: how each example gets a scale of its own; None for `sigma` throughout.
        sigma_range: two bounds around `sigma` between which every example gets a scale at random in
            every step (`draw_scales`): a classifier for many scales. Not with `data_dependent`.
        epochs: passes over the examples.
        batch_size: examples a step, in all processes together.
        lr: the schedule's highest learning rate.
        schedule: `"one-cycle"`, `"cosine"` or `"step"`.
        milestones: epochs after which `"step"` lowers the learning rate.
        gamma: factor by which it does.
        nesterov: Nesterov's momentum instead of the usual one.
        weight_decay: l2 penalty on the weights.
        augment: flip images and crop them at random.
        validation: examples to hold out, as a share below 1 or as a number; the weights of the
            epoch that classifies most of them rightly under noise are the result. With 0 those of
            the last epoch are.
        precision: `"fp32"`, or `"bf16"` for forward and backward passes in bfloat16.
        seed: key of all randomness.

    Raises:
        ConfigurationError: a value that can never work.
    """

    method: str = field(
        default="gaussian",
        metadata={
            "metavar": "NAME",
            "help": "gaussian, smoothadv, macer.",
            "panel": OBJECTIVE_PANEL,
        },
    )
    options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={
            "flag": "--option",
            "metavar": "NAME=VALUE",
            "help": "A hyperparameter of the objective, e.g. epsilon=0.5 (smoothadv: attack, "
            "epsilon, steps, m, warmup, relative) or k=4 (macer: k, weight, gamma, beta). Any "
            "number of times.",
            "panel": OBJECTIVE_PANEL,
        },
    )
    sigma: float = field(
        default=0.25,
        metadata={"metavar": "S", "help": "Scale of the training noise."},
    )
    noise: str = field(
        default="gaussian",
        metadata={"metavar": "NAME", "help": "gaussian certifies l2 balls, uniform l1 balls."},
    )
    data_dependent: DataDependent | None = field(
        default=None,
        metadata={
            "help": "Give every example a sigma of its own (Algorithm 2 of the paper).",
            "panel": SIGMAS_PANEL,
        },
    )
    sigma_range: Sequence[float] | None = field(
        default=None,
        metadata={
            "metavar": "LOW,HIGH",
            "help": "Instead: a sigma between these at random for every example in every step, for "
            "a classifier that is certified at sigmas chosen per input.",
            "panel": SIGMAS_PANEL,
        },
    )
    epochs: int = field(
        default=60,
        metadata={
            "metavar": "E",
            "help": "Passes over the data. Default: 60.",
            "panel": SCHEDULE_PANEL,
        },
    )
    batch_size: int = field(
        default=64,
        metadata={
            "metavar": "B",
            "help": "Examples per step. Default: 64.",
            "panel": SCHEDULE_PANEL,
        },
    )
    lr: float = field(
        default=0.1,
        metadata={
            "metavar": "LR",
            "help": "Highest learning rate. Default: 0.1.",
            "panel": SCHEDULE_PANEL,
        },
    )
    schedule: Schedule = field(
        default="one-cycle",
        metadata={"help": "How it changes. Default: one-cycle.", "panel": SCHEDULE_PANEL},
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
        default=0.1,
        metadata={"metavar": "G", "help": "Factor of step. Default: 0.1.", "panel": SCHEDULE_PANEL},
    )
    nesterov: bool = True
    weight_decay: float = field(
        default=5e-4,
        metadata={
            "metavar": "W",
            "help": "l2 penalty on the weights. Default: 0.0005.",
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
        default="fp32", metadata={"help": "Arithmetic of the passes.", "panel": SCHEDULE_PANEL}
    )
    seed: int = field(default=0, metadata={"metavar": "K", "help": "Key of all randomness."})

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", list(self.milestones))  # as JSON gives them back
        object.__setattr__(self, "options", dict(self.options))
        if self.sigma_range is not None:
            object.__setattr__(self, "sigma_range", list(self.sigma_range))
        _check_choice("method", self.method, OBJECTIVES)
        _check_choice("noise", self.noise, NOISES)
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_choice("precision", self.precision, get_args(Precision))
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
        if not (0 <= self.validation < 1 or float(self.validation).is_integer()):
            raise ConfigurationError(
                f"validation must be a share below 1 or a whole number, got {self.validation}"
            )
        check_seed(self.seed)
        check_milestones(self.schedule, self.milestones, self.gamma, self.epochs)
        self.objective()
        if self.data_dependent is not None:
            self.data_dependent.first_epoch(self.epochs)
            if self.sigma_range is not None:
                raise ConfigurationError(
                    "sigma_range draws the scales that data_dependent would choose: give one"
                )
        if self.sigma_range is not None and len(self.sigma_range) != 2:
            raise ConfigurationError(f"sigma_range is two numbers, got {self.sigma_range}")
        _ = self.scale_bounds

    def objective(self) -> Objective:
        """The objective that `method` and `options` name.

        Raises:
            ConfigurationError: an option that the objective does not have, or a wrong value.
        """
        objective = OBJECTIVES[self.method]
        defaults = asdict(objective())  # type: ignore[call-overload]
        unknown = sorted({*self.options} - {*defaults})
        if unknown:
            raise ConfigurationError(
                f"options of {self.method} are {', '.join(defaults) or 'none'}: there is no "
                f"{', '.join(unknown)}"
            )
        for name, value in self.options.items():
            default = defaults[name]
            numeric = isinstance(default, float) and isinstance(value, int)
            if type(value) is not type(default) and not numeric:
                raise ConfigurationError(
                    f"options of {self.method}: {name} is a {type(default).__name__} such as "
                    f"{default!r}, got {value!r}"
                )
        return objective(**self.options)

    @property
    def scale_bounds(self) -> tuple[float, float] | None:
        """The least and the largest scale that an example may have; None where all have `sigma`.

        Raises:
            ConfigurationError: unless 0 < low <= sigma <= high.
        """
        if self.data_dependent is not None:
            return self.data_dependent.bounds(self.sigma)
        return None if self.sigma_range is None else check_range(self.sigma, *self.sigma_range)

    def adapts(self, epoch: int) -> bool:
        """Whether the scales of the examples change in this epoch."""
        return self.data_dependent is not None and epoch >= self.data_dependent.first_epoch(
            self.epochs
        )

    @property
    def passes(self) -> float:
        """Cost of the run, in forward and backward passes of plain training for an example."""
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
        "options": asdict(PRESETS[method][dataset]),  # type: ignore[call-overload]
        "nesterov": False,
        "augment": True,
    }


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
