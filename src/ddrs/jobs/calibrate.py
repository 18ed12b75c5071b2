"""A calibration that is asked for, as plain data that any engine can carry out."""

from dataclasses import dataclass, field, fields
from typing import Literal

from ddrs.data.split import Split
from ddrs.errors import ConfigurationError
from ddrs.jobs.certify import CertifyJob
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import NOISES
from ddrs.noise.streams import check_seed
from ddrs.votes.batching import check_batch_size

__all__ = ["INPUTS", "CalibrateJob"]

INPUTS = 300
SHARED = {each.name: each.metadata for each in fields(CertifyJob)}


@dataclass(frozen=True)
class CalibrateJob:
    """Calibrate classifiers on unlabelled inputs of a dataset.

    The `help` of each field says what it is.

    Raises:
        ConfigurationError: a value that can never work.
    """

    data: str = field(metadata=SHARED["data"])
    model: str = field(metadata=SHARED["model"])
    weights: str | None = field(default=None, metadata=SHARED["weights"])
    alternatives: tuple[str, ...] = field(
        default=(),
        metadata={
            "flag": "--alternative",
            "metavar": "SPEC",
            "help": "A further classifier; may be given several times. Each gets a limit.",
        },
    )
    sigma: float | None = field(
        default=None,
        metadata={
            "metavar": "S",
            "help": "Training noise of models that do not say theirs.",
        },
    )
    high: float | None = field(
        default=None,
        metadata={
            "metavar": "S",
            "help": "Largest sigma to look at. Default: four times the training noise.",
        },
    )
    noise: str = field(default="gaussian", metadata=SHARED["noise"])
    inputs: int = field(
        default=INPUTS,
        metadata={"metavar": "K", "help": "How many inputs, drawn by the seed."},
    )
    votes: int = field(
        default=8, metadata={"metavar": "N", "help": "Votes at each input and sigma."}
    )
    split: Split = field(
        default="train",
        metadata={"help": "Part of the dataset; not the inputs that are to be certified."},
    )
    rgb: bool | None = field(default=None, metadata=SHARED["rgb"])
    resize: int | None = field(default=None, metadata=SHARED["resize"])
    crop: int | None = field(default=None, metadata=SHARED["crop"])
    seed: int = field(default=0, metadata={"metavar": "K", "help": "Key of inputs and noise."})
    precision: Precision = field(default="fp32", metadata=SHARED["precision"])
    compile: bool = field(default=False, metadata=SHARED["compile"])
    identity: str | None = field(default=None, metadata=SHARED["identity"])
    batch_size: int | Literal["auto"] = field(default="auto", metadata=SHARED["batch_size"])

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise ConfigurationError(f"noise must be one of {', '.join(NOISES)}, got {self.noise}")
        if self.inputs < 1 or self.votes < 1:
            raise ConfigurationError(
                f"inputs and votes must be at least 1, got {self.inputs} and {self.votes}"
            )
        check_seed(self.seed)
        check_batch_size(self.batch_size)
