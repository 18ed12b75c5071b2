"""An attack that is asked for, as plain data."""

from dataclasses import dataclass, field
from math import isfinite

from ddrs.errors import ConfigurationError
from ddrs.noise.streams import check_seed

__all__ = ["AttackJob"]


@dataclass(frozen=True)
class AttackJob:
    """Attack inputs of a finished run.

    The `help` of each field says what it is.

    Raises:
        ConfigurationError: a value that can never work.
    """

    inputs: int = field(
        default=100,
        metadata={"metavar": "K", "help": "How many certified inputs, from the first."},
    )
    factors: tuple[float, ...] = field(
        default=(0.95, 1.5),
        metadata={
            "flag": "--factor",
            "metavar": "F,F,...",
            "help": "Distances, in units of an input's certified radius. Default: 0.95,1.5.",
        },
    )
    steps: int = field(default=20, metadata={"metavar": "T", "help": "Gradients of an attack."})
    draws: int = field(
        default=64, metadata={"metavar": "M", "help": "Noisy copies behind each gradient."}
    )
    seed: int = field(default=0, metadata={"metavar": "S", "help": "Key of their noise."})

    def __post_init__(self) -> None:
        if min(self.inputs, self.steps, self.draws) < 1:
            raise ConfigurationError(
                "inputs, steps and draws must be at least 1, got "
                f"{self.inputs}, {self.steps} and {self.draws}"
            )
        if not self.factors or not all(isfinite(one) and one > 0 for one in self.factors):
            raise ConfigurationError(
                f"factors must be finite numbers above 0, got {list(self.factors)}"
            )
        if len({*self.factors}) < len(self.factors):
            raise ConfigurationError(f"a factor stands there twice: {list(self.factors)}")
        check_seed(self.seed)
