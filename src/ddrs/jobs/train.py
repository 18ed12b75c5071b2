"""A training that is asked for, as plain data that any engine can carry out.

The fields say in their metadata what the command line shows of them, as those of `TrainingConfig`
do.
"""

from dataclasses import dataclass, field
from typing import get_args

from ddrs.data.preparation import (
    CROP_OPTION,
    RESIZE_OPTION,
    RGB_OPTION,
    Preparation,
    preparation_of,
)
from ddrs.errors import ConfigurationError
from ddrs.networks.names import Architecture
from ddrs.training.config import TrainingConfig

__all__ = ["TrainJob"]


@dataclass(frozen=True)
class TrainJob:
    """Train a base classifier under noise; the `help` of each field says what it is.

    `training` is the objective, the noise, the schedule and the seed. `ddrs.models.start` says what
    `init` can be; without one the weights start at random.

    Raises:
        ConfigurationError: a value that can never work.
    """

    data: str = field(
        metadata={
            "metavar": "SPEC",
            "help": "digits, hf:NAME, parquet:PATH, folder:PATH or npz:PATH; its training split.",
        }
    )
    arch: str | None = field(
        default=None,
        metadata={
            "metavar": "NAME",
            "help": f"{', '.join(get_args(Architecture))}. Default: that of --init where it is a "
            "run or hf:NAME; digits-cnn for digits.",
        },
    )
    training: TrainingConfig = field(default_factory=TrainingConfig)
    init: str | None = field(
        default=None,
        metadata={
            "metavar": "W",
            "help": "What to start from: a weights file, a training run or hf:NAME.",
        },
    )
    partial_init: bool = field(
        default=False,
        metadata={"help": "Start from it even where only some of its weights fit."},
    )
    rgb: bool | None = field(default=None, metadata=RGB_OPTION)
    resize: int | None = field(default=None, metadata=RESIZE_OPTION)
    crop: int | None = field(default=None, metadata=CROP_OPTION)

    def __post_init__(self) -> None:
        _ = self.preparation  # refuse a size that no image can have
        if self.partial_init and self.init is None:
            raise ConfigurationError("partial-init says how to take --init: give that too")

    @property
    def preparation(self) -> Preparation:
        """What is done to every image."""
        return preparation_of(self)
