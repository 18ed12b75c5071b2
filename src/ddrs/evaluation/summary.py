"""The figures of a run, as they are written to its `summary.json`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypedDict, TypeVar

from ddrs.display.rounding import radius_key
from ddrs.evaluation.metrics import (
    DEFAULT_RADII,
    accuracy_interval,
    average_certified_radius,
    certified_hits,
)
from ddrs.evaluation.worth import discounted_figures, wrong_share
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.runs.rows import CertifiedRow, Row, labelled
from ddrs.runs.summary import MemoryUse, SigmaRange, Summary

__all__ = ["INTERVAL_LEVEL", "certified_figures", "counted_settings", "scored", "summarise"]

INTERVAL_LEVEL = 0.95

T = TypeVar("T")


def summarise(
    rows: Sequence[CertifiedRow],
    *,
    seconds: float,
    memory_entries: int | None,
    alone: bool,
    alpha: float | None = None,
    radii: Iterable[float] = DEFAULT_RADII,
    n_at_most: int | None = None,
    question: str | None = None,
    start: float | None = None,
    calibration: float | None = None,
    null: dict[str, float] | None = None,
    differences: Callable[[Certificate], Iterable[str]] | None = None,
) -> Summary:
    """Summarise a run.

    Args:
        rows: the certified inputs.
        seconds: time that the run took.
        memory_entries: answers stored in the memory; None when the run had no memory.
        alone: whether the method's certificates of different inputs hold together without a memory.
        alpha: failure probability of a certificate, where its pieces of evidence share it; None
            where each certificate says it.
        radii: radii to give the certified accuracy at.
        n_at_most: the most estimation votes that an input could take; None where it is not known.
        question: when the estimation of an input stopped; None for a fixed number of votes.
        start: the sigma at which a policy starts; None for a method that needs no memory.
        calibration: the largest sigma that a calibration allows; None without one.
        null: what constant classifiers get through the memory, by radius; None without one.
        differences: the settings that a certificate has otherwise than the run; None where all of
            them are the run's own.

    Raises:
        InputError: no rows.
        ConfigurationError: a radius that is negative or not a number.
    """
    radii = list(radii)
    figures = certified_figures(rows, radii)
    certificates = [row.certificate for row in rows]
    outcomes = Counter(certificate.outcome for certificate in certificates)
    sigmas = [float(certificate.sigma) for certificate in certificates]
    return Summary(
        **figures,
        interval_level=INTERVAL_LEVEL,
        clean_accuracy=_clean_accuracy(rows),
        abstained=sum(row.prediction == ABSTAIN for row in rows),
        votes=sum(certificate.votes for certificate in certificates),
        seconds=float(seconds),
        sigma=SigmaRange(min(sigmas), float(median(sigmas)), max(sigmas)),
        memory=MemoryUse(
            on=memory_entries is not None,
            entries=memory_entries or 0,
            own=outcomes["own"],
            trimmed=outcomes["trimmed"],
            inherited=outcomes["inherited"],
            unrecorded=outcomes["unrecorded"],
        ),
        sound_together=_sound_together(rows, alone, memory_entries is not None),
        n=_common(certificate.n for certificate in certificates),
        n0=_common(certificate.n0 for certificate in certificates),
        alpha=alpha or _common(certificate.alpha for certificate in certificates),
        norm=_common(certificate.norm for certificate in certificates),
        n_at_most=n_at_most,
        question=question,
        **(_worth(rows, radii, start) if figures["acr"] is not None else {}),
        null=null,
        start=start,
        calibration=calibration,
        other_settings={} if differences is None else counted_settings(certificates, differences),
    )


def counted_settings(
    certificates: Iterable[Certificate], differences: Callable[[Certificate], Iterable[str]]
) -> dict[str, int]:
    """`Summary.other_settings`: how many certificates differ, and how many in each setting."""
    found = [list(differences(each)) for each in certificates]
    counts = Counter(name for names in found for name in names)
    rows = sum(map(bool, found))
    return {"rows": rows, **counts} if rows else {}


def _worth(rows: Sequence[CertifiedRow], radii: Sequence[float], start: float | None) -> Any:
    """The figures of `Summary` that only inputs with labels have."""
    return {"wrong": wrong_share(rows, radii), **discounted_figures(rows, radii, start)}


class CertifiedFigures(TypedDict):
    """What `Summary` and `Comparison` both say of the certified inputs."""

    inputs: int
    acr: float | None
    certified_accuracy: dict[str, float]
    certified_accuracy_interval: dict[str, tuple[float, float]]
    answered: dict[str, float]
    mean_radius: float | None


def certified_figures(rows: Sequence[Row], radii: Iterable[float]) -> CertifiedFigures:
    """Certified accuracy at each radius with its interval, and the ACR.

    Of inputs without labels: the share that is answered at each radius, and the mean radius.
    """
    radii = list(radii)
    hits, inputs = certified_hits(scored(rows), radii)
    counts = {radius_key(r): int(hit) for r, hit in zip(radii, hits, strict=True)}
    if not labelled(rows):
        return {
            "inputs": inputs,
            "acr": None,
            "certified_accuracy": {},
            "certified_accuracy_interval": {},
            "answered": {key: hit / inputs for key, hit in counts.items()},
            "mean_radius": average_certified_radius(scored(rows)),
        }
    return {
        "inputs": inputs,
        "acr": average_certified_radius(rows),
        "certified_accuracy": {key: hit / inputs for key, hit in counts.items()},
        "certified_accuracy_interval": {
            key: accuracy_interval(hit, inputs, INTERVAL_LEVEL) for key, hit in counts.items()
        },
        "answered": {},
        "mean_radius": None,
    }


def scored(rows: Sequence[Row]) -> Sequence[Row | Mapping[str, Any]]:
    """What the metrics count: correct answers, or all answers where no row has a label."""
    if labelled(rows):
        return rows
    return [{"radius": row.radius, "correct": row.prediction != ABSTAIN} for row in rows]


def _clean_accuracy(rows: Sequence[CertifiedRow]) -> float | None:
    if not labelled(rows):
        return None
    return sum(row.clean_prediction == row.label for row in rows) / len(rows)


def _sound_together(rows: Sequence[CertifiedRow], alone: bool, remembered: bool) -> bool:
    """Whether all certificates hold for one classifier: that of the method, or of the memory.

    A read-only memory holds no answer to an input outside of its regions. Certificates go together
    all the same where they happen to be of one smoothed classifier.
    """
    one = len({(row.sigma, row.certificate.model_digest) for row in rows}) == 1
    recorded = all(row.certificate.outcome != "unrecorded" for row in rows)
    return one or (recorded if remembered else alone)


def _common(values: Iterable[T]) -> T | None:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
