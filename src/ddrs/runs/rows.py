"""One evaluated input: of a run of `ddrs certify`, or of a published log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ddrs.proof.certificate import Certificate

__all__ = ["CertifiedRow", "LoggedRow", "Row", "labelled"]


class Row(Protocol):
    """What certified accuracy and the average certified radius are formed from.

    Attributes:
        index: position of the input in its dataset.
        label: the true class; None where it is not known.
        prediction: the certified class, or `ABSTAIN` (-1).
        radius: certified radius, in the units of the input; 0 on abstention.
        correct: whether `prediction` is `label`; None where that is not known.
        seconds: time spent on this input; None where it was not recorded.
    """

    @property
    def index(self) -> int: ...  # noqa: D102
    @property
    def label(self) -> int | None: ...  # noqa: D102
    @property
    def prediction(self) -> int: ...  # noqa: D102
    @property
    def radius(self) -> float: ...  # noqa: D102
    @property
    def correct(self) -> bool | None: ...  # noqa: D102
    @property
    def seconds(self) -> float | None: ...  # noqa: D102


def labelled(rows: Iterable[Row]) -> bool:
    """Whether rows say what is correct; a run or a log says it of all of its rows, or of none."""
    return all(row.correct is not None for row in rows)


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """A line of a published log, which records no more than this; attributes as in `Row`.

    Attributes:
        sigma: the sigma of this input, where the log has a column of them.
    """

    index: int
    label: int | None
    prediction: int
    radius: float
    correct: bool | None
    seconds: float | None = None
    sigma: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRow:
    """A row of `certificates.parquet`: an input, its certificate, and what it is compared with.

    Attributes:
        index: position of the input in its dataset.
        label: the true class; None where it is not known.
        correct: whether the certified class is `label`, as the row states it; an audit checks it.
            None without a label.
        clean_prediction: the base classifier's class of the input, without noise.
        certificate: the answer and its evidence.
        seconds: time spent on this input; None where it was not recorded.
    """

    index: int
    label: int | None
    correct: bool | None
    clean_prediction: int
    certificate: Certificate
    seconds: float | None = None

    @property
    def prediction(self) -> int:
        """The certified class, or `ABSTAIN` (-1)."""
        return self.certificate.prediction

    @property
    def radius(self) -> float:
        """The certified radius, in the units of the input; 0 on abstention."""
        return self.certificate.radius

    @property
    def sigma(self) -> float:
        """The sigma of the votes behind the certificate."""
        return self.certificate.sigma

    def to_row(self) -> dict[str, Any]:
        """The columns of `certificates.parquet`, in their order; floats keep every bit."""
        return {
            "index": self.index,
            "label": self.label,
            "correct": self.correct,
            "clean_prediction": self.clean_prediction,
            **self.certificate.to_row(),
            "seconds": self.seconds,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "CertifiedRow":
        """The row with these columns; further columns do no harm.

        Raises:
            KeyError, TypeError: a column is missing.
        """
        return cls(
            index=row["index"],
            label=row["label"],
            correct=row["correct"],
            clean_prediction=row["clean_prediction"],
            certificate=Certificate.from_row(row),
            seconds=row.get("seconds"),
        )
