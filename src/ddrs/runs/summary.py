"""The figures of a run, as they stand in its `summary.json`."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ddrs.runs.checking import check_values, summary_checks
from ddrs.runs.decoding import decode

__all__ = ["MemoryUse", "SigmaRange", "Summary", "TrainingSummary"]


@dataclass(frozen=True)
class SigmaRange:
    """The sigmas of a run: the least, the median and the largest."""

    min: float
    median: float
    max: float


@dataclass(frozen=True)
class MemoryUse:
    """What the memory of a run did.

    Attributes:
        on: whether there was one.
        entries: answers stored in it at the end of the run.
        own: inputs whose radius is that of their own votes.
        trimmed: inputs whose radius was cut.
        inherited: inputs that were answered from the region of another one.
        unrecorded: inputs outside of every region of a read-only memory.
    """

    on: bool
    entries: int
    own: int
    trimmed: int
    inherited: int
    unrecorded: int


@dataclass(frozen=True)
class Summary:
    """The figures of a certification.

    Attributes:
        inputs: how many were certified.
        acr: the average certified radius; None without labels.
        certified_accuracy: by radius, as `radius_key` writes it: `{"0.50": ...}`; empty without
            labels.
        certified_accuracy_interval: its confidence interval, by radius.
        interval_level: confidence of these intervals.
        clean_accuracy: accuracy of the base classifier, without noise; None without labels.
        abstained: inputs without a certified class.
        votes: noisy forward passes of all inputs.
        seconds: time that all inputs took.
        sigma: the sigmas behind the certificates.
        memory: what the memory did.
        sound_together: whether all certificates hold for one classifier: false where sigma or the
            base classifier differs between inputs and answers were not all held by a memory.
        n: estimation votes per input; None where they differ.
        n0: selection votes per input; None where they differ.
        alpha: failure probability of a certificate; None where it differs.
        norm: `"l2"` or `"l1"`; None where it differs.
        n_at_most: the most estimation votes that an input could take; None where it is not known.
        question: when the estimation of an input stopped; None for a fixed number of votes.
        wrong: by radius, the share of inputs certified with another class than their label. This
            and what follows is None without labels, and where an earlier version wrote the file.
        discounted: the certified accuracy without what constant answers get (`evaluation.worth`).
        discounted_acr: the average certified radius likewise.
        null: by radius, what constant classifiers get through the memory; None without a memory.
        start: the sigma at which the policy starts; None for a method that needs no memory.
        calibration: the largest sigma that a calibration allows; None without one.
        answered: without labels, the share of inputs that are answered, with whatever class, and a
            radius of at least r, by radius; empty with labels.
        mean_radius: without labels, the mean over all inputs of the radius, that of an abstention
            being 0; None with labels.
        other_settings: certificates that other runs made, with other settings, and that a memory
            which they share gave to this one: how many under `rows`, and how many of them have
            another `n`, `alpha` and so on. Empty without any.
    """

    inputs: int
    acr: float | None
    certified_accuracy: dict[str, float]
    certified_accuracy_interval: dict[str, tuple[float, float]]
    interval_level: float
    clean_accuracy: float | None
    abstained: int
    votes: int
    seconds: float
    sigma: SigmaRange
    memory: MemoryUse
    sound_together: bool
    n: int | None
    n0: int | None
    alpha: float | None
    norm: str | None
    n_at_most: int | None = None
    question: str | None = None
    wrong: dict[str, float] | None = None
    discounted: dict[str, float] | None = None
    discounted_acr: float | None = None
    null: dict[str, float] | None = None
    start: float | None = None
    calibration: float | None = None
    answered: dict[str, float] = field(default_factory=dict)
    mean_radius: float | None = None
    other_settings: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `summary.json` holds, in plain types and in this order."""
        intervals = self.certified_accuracy_interval.items()
        plain = {
            **asdict(self),
            "certified_accuracy_interval": {key: list(ends) for key, ends in intervals},
        }
        if self.mean_radius is None:  # with labels the accuracies say more
            del plain["answered"], plain["mean_radius"]
        return plain

    @classmethod
    def from_json(cls, data: object) -> "Summary":
        """The summary that `to_json` wrote; further keys do no harm.

        Raises:
            TypeError, ValueError: it is not one.
        """
        summary = decode(cls, data)
        check_values(vars(summary), summary_checks)
        return summary


@dataclass(frozen=True)
class TrainingSummary:
    """The figures of a training.

    Attributes:
        epochs: how many there were.
        examples: examples of the dataset.
        held_out: of these, those that were held out for validation.
        best_epoch: number of the epoch whose weights were kept, from 0.
        loss: its loss.
        noisy_accuracy: its accuracy on the training examples under noise.
        validation_accuracy: its accuracy on the examples held out; None without any.
        seconds: time that all epochs took.
        model_digest: SHA-256 of the model.
    """

    epochs: int
    examples: int
    held_out: int
    best_epoch: int
    loss: float
    noisy_accuracy: float
    validation_accuracy: float | None
    seconds: float
    model_digest: str

    def to_json(self) -> dict[str, Any]:
        """What `summary.json` holds, in plain types and in this order."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> "TrainingSummary":
        """The summary that `to_json` wrote; further keys do no harm.

        Raises:
            TypeError, ValueError: it is not one.
        """
        return decode(cls, data)
