"""What a training is asked for."""

from dataclasses import dataclass

from ddrs.errors import ConfigurationError
from ddrs.training.config import TrainingConfig

__all__ = ["TrainJob"]


@dataclass(frozen=True)
class TrainJob:
    """Train a base classifier under noise.

    Attributes:
        data: dataset spec; its training split is used.
        arch: a name in `architectures.ARCHITECTURES`; None for that of `init`.
        training: objective, noise, schedule and seed.
        init: what to start from (`ddrs.models.start`): a weights file, a training run or `hf:NAME`;
            None for a random start.
        partial_init: start from it even where only some of its weights fit.

    Raises:
        ConfigurationError: a value that can never work.
    """

    data: str
    arch: str | None
    training: TrainingConfig
    init: str | None = None
    partial_init: bool = False

    def __post_init__(self) -> None:
        if self.partial_init and self.init is None:
            raise ConfigurationError("partial-init says how to take --init: give that too")
