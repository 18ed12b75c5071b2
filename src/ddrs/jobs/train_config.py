"""What a training is made for, decided to the last value, and what came of it: `config.json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ddrs.runs.decoding import decode
from ddrs.runs.summary import TrainingSummary
from ddrs.training.config import TrainingConfig

__all__ = ["TrainRunConfig", "TrainingResult"]


@dataclass(frozen=True, kw_only=True)
class TrainRunConfig:
    """A training, decided: the job and what its data and the start of the network made of it.

    Attributes:
        data: dataset spec.
        rgb: whether images were read with three channels (true) or one; None for as the first is.
        resize: pixels that the shorter side of every image was resized to; None for as it is.
        crop: pixels of the square in the middle that was taken of every image; None for all of it.
        arch: name of the network's architecture, or `"hf"`.
        num_classes: length of the output.
        input_shape: shape of one input.
        examples: examples of the dataset.
        init: what the training started from; None for a random start.
        partial_init: whether only some weights of that had to fit.
        start_digest: SHA-256 of the network before the training.
        training: objective, noise, schedule and seed; its keys stand beside the others.
        version: version of the library.
    """

    data: str
    rgb: bool | None = None
    resize: int | None = None
    crop: int | None = None
    arch: str
    num_classes: int
    input_shape: tuple[int, ...]
    examples: int
    init: str | None
    partial_init: bool
    start_digest: str
    training: TrainingConfig
    version: str

    def to_json(self) -> dict[str, Any]:
        """What `config.json` holds before there is a result, in this order."""
        plain = asdict(self)
        training, version = plain.pop("training"), plain.pop("version")
        return {"kind": "train", **plain, **training, "version": version}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote; further keys do no harm.

        Raises:
            TypeError, ValueError: it is not one.
        """
        if data.get("kind") != "train":
            raise ValueError("it is not of `ddrs train`")
        return decode(cls, {**data, "training": decode(TrainingConfig, data)})


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of a training; with its configuration it describes a model.

    Attributes:
        start: what the training started from, in words; None for a random start.
        objective: every hyperparameter of the objective.
        versions: of the libraries that took part.
        summary: the figures.
    """

    start: str | None
    objective: Mapping[str, Any]
    versions: Mapping[str, str]
    summary: TrainingSummary

    def to_json(self) -> dict[str, Any]:
        """What `config.json` holds as `result`, in this order."""
        described = {"start": self.start, "objective": self.objective, "versions": self.versions}
        return {**described, **self.summary.to_json()}
