"""What certificates are worth where sigma or the classifier may differ between inputs.

Through a memory even a classifier that always answers the same has sound certificates. These
figures tell how much of a certified accuracy is of that kind. None of them but `wrong_share` and
`one_answer` looks at labels to judge an answer.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, fsum, log2
from typing import TypedDict

import numpy as np

from ddrs.display.rounding import radius_key
from ddrs.evaluation.metrics import Float64s, mean
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import CertifiedRow, Row

__all__ = [
    "Cell",
    "CommonAnswer",
    "Discounted",
    "answer_cells",
    "answer_shares",
    "constant_credits",
    "credits",
    "discounted_figures",
    "one_answer",
    "wrong_share",
]

BINS_PER_OCTAVE = 2
ROUNDING = 1e-9
ONE_ANSWER = 0.25  # excess above which answers count as constant


class Discounted(TypedDict):
    """Certified figures with constant answers taken off."""

    discounted: dict[str, float]
    discounted_acr: float


@dataclass(frozen=True)
class Cell:
    """The answers of one classifier in one interval of sigma.

    Attributes:
        model_digest: SHA-256 of the classifier.
        low: the interval is above this sigma; 0 for all up to the start.
        high: and up to this one.
        answers: how many inputs got each answer, the commonest first.
    """

    model_digest: str
    low: float
    high: float
    answers: dict[int, int]


@dataclass(frozen=True)
class CommonAnswer:
    """A class that is answered far more often than it is true.

    Attributes:
        answer: the class.
        share: its share of the answers, abstentions left out.
        labels: its share of the labels.
    """

    answer: int
    share: float
    labels: float


def constant_credits(
    answers: Sequence[int], cells: Sequence[Hashable], above: Sequence[bool]
) -> Float64s:
    """`[inputs]` how much of each answer a constant classifier would not have given: 0 to 1.

        credit = 1 - max(0, s - q) / (1 - q)

    with s the share of the other inputs of the same cell that have the same answer, and q that
    answer's share of all inputs. It is 1 at or below the training noise. It is 0 above it where the
    cell has no other input, or where every input of the run has this answer: then nothing tells
    the classifier from a constant.

    Args:
        answers: the class of each input.
        cells: what its votes were cast by: classifier and interval of sigma.
        above: whether its sigma is above the training noise.
    """
    shares, sizes = Counter(answers), Counter(cells)
    same = Counter(zip(cells, answers, strict=True))
    found = []
    for answer, cell, is_above in zip(answers, cells, above, strict=True):
        q, others = shares[answer] / len(answers), sizes[cell] - 1
        if not is_above:
            found.append(1.0)
        elif others == 0 or q == 1:
            found.append(0.0)
        else:
            s = (same[cell, answer] - 1) / others
            found.append(1 - max(0.0, s - q) / (1 - q))
    return np.array(found, dtype=np.float64)


def credits(rows: Sequence[CertifiedRow], start: float | None) -> Float64s:
    """`constant_credits` of certified inputs; cells are half octaves of sigma above the start.

    Args:
        rows: the certified inputs.
        start: the sigma at which the policy starts, the noise of the training; None where the
            method needs no memory: then every credit is 1.
    """
    if start is None:
        return np.ones(len(rows))
    bins = [_bin(row.sigma, start) for row in rows]
    cells = [(row.certificate.model_digest, k) for row, k in zip(rows, bins, strict=True)]
    return constant_credits([row.prediction for row in rows], cells, [k > 0 for k in bins])


def discounted_figures(
    rows: Sequence[CertifiedRow], radii: Iterable[float], start: float | None
) -> Discounted:
    """Certified accuracy and ACR where each correct answer counts with its credit."""
    weights = credits(rows, start) * [float(row.correct is True) for row in rows]
    radius = np.array([row.radius for row in rows])
    return {
        "discounted": {radius_key(r): fsum(weights[radius >= r]) / len(rows) for r in radii},
        "discounted_acr": mean(weights * radius, len(rows)),
    }


def wrong_share(rows: Sequence[Row], radii: Iterable[float]) -> dict[str, float]:
    """By radius, the share of inputs that are certified with another class than their label."""
    wrong = [row.radius for row in rows if row.prediction not in (ABSTAIN, row.label)]
    return {radius_key(r): sum(radius >= r for radius in wrong) / len(rows) for r in radii}


def answer_shares(rows: Sequence[Row]) -> dict[int, float]:
    """The share of inputs that get each answer, abstentions (-1) among them; by class."""
    counts = Counter(row.prediction for row in rows)
    return {answer: counts[answer] / len(rows) for answer in sorted(counts)}


def answer_cells(rows: Sequence[CertifiedRow], start: float) -> list[Cell]:
    """How often each answer was given, by classifier and half octave of sigma."""
    found: dict[tuple[str, int], Counter[int]] = {}
    for row in rows:
        place = row.certificate.model_digest, _bin(row.sigma, start)
        found.setdefault(place, Counter())[row.prediction] += 1
    return [
        Cell(
            digest,
            0.0 if k == 0 else start * 2 ** ((k - 1) / BINS_PER_OCTAVE),
            start * 2 ** (k / BINS_PER_OCTAVE),
            dict(counts.most_common()),
        )
        for (digest, k), counts in sorted(found.items())
    ]


def one_answer(rows: Sequence[Row]) -> CommonAnswer | None:
    """The answer that is given far more often than it is true; None where there is none to be told.

    With p its share of the answers and q that of the labels: (p - q) / (1 - q) above a quarter.
    """
    counts = Counter(row.prediction for row in rows if row.prediction != ABSTAIN)
    labels = Counter(row.label for row in rows)
    if None in labels:
        return None
    for answer, count in counts.most_common(1):
        p, q = count / counts.total(), labels[answer] / len(rows)
        if p - q > ONE_ANSWER * (1 - q):
            return CommonAnswer(answer, p, q)
    return None


def _bin(sigma: float, start: float) -> int:
    """The half octave above the start; 0 for all sigmas up to it."""
    return max(0, ceil(BINS_PER_OCTAVE * log2(sigma / start) - ROUNDING))
