"""One evaluated input: what certified accuracy and the average certified radius are formed from."""

from dataclasses import dataclass

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """What was answered for one input, and whether it was right.

    Attributes:
        index: position of the input in its dataset.
        label: the true class.
        prediction: the certified class, or `ABSTAIN` (-1).
        radius: certified radius, in the units of the input; 0 on abstention.
        correct: whether `prediction` is `label`.
        seconds: time spent on this input; None where it was not recorded.
    """

    index: int
    label: int
    prediction: int
    radius: float
    correct: bool
    seconds: float | None = None
