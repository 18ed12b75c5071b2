"""The choice of sigma per input that published certificates allow, its alpha paid for.

Each of K logs or runs says of an input: class c within radius r, wrong with probability at most
alpha. At level alpha / K each, all K hold at once with probability at least 1 - alpha (union
bound), whatever is picked of them afterwards. The class is that of the first that does not abstain;
the radius is the largest that any proves for this class.

A run has its counts. Those of a log follow from its radius: sigma Phi^-1(p_lower) = radius, and the
count is the least whose Clopper-Pearson bound at level alpha is p_lower. The radius is then formed
anew at alpha / K. A log that was printed with few digits leaves some counts open, and one whose
sigma, n or alpha is not known leaves all: so there are a lower and an upper figure.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import floor, log10
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.comparison import Comparison, compare
from ddrs.evaluation.metrics import DEFAULT_RADII, Float64s
from ddrs.noise.distributions import noise_for_norm
from ddrs.proof.bounds import Confidence, least_counts
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.certify import recompute_radius
from ddrs.runs.rows import CertifiedRow, LoggedRow, Row
from ddrs.runs.table import EvaluatedRun

__all__ = ["CHOICE", "Choice", "check_settings", "choose", "sigma_in_name"]

CHOICE = "choice"
AT_MOST = "choice, at most"
ARITHMETIC = 1e-6  # share of a radius that a script in single precision may have lost
FOLDERS = 2  # above a log, whose names may say its sigma


@dataclass(frozen=True)
class Choice:
    """What choosing among logs or runs gives.

    Attributes:
        lower: what is proved at alpha / K each; `sigma` is that of the log or run taken.
        upper: what could be, if open counts were as large as they may be, and if what has no count
            cost nothing; the rows of `lower` where nothing is open.
        n: estimation votes of each; None where they differ or are not known.
        alpha: failure probability of an input's certificate; None where it is not known.
        norm: the norm of the radii.
        note: what the figures are, in sentences.
    """

    lower: EvaluatedRun
    upper: EvaluatedRun
    n: int | None
    alpha: float | None
    norm: str
    note: str

    def figures(
        self, runs: Sequence[EvaluatedRun], radii: Iterable[float] = DEFAULT_RADII
    ) -> list[Comparison]:
        """The figures of the runs, of the choice, and of its upper limit where that is another."""
        chosen = [self.lower] if self.lower.rows == self.upper.rows else [self.lower, self.upper]
        found = compare([*runs, *chosen], radii)
        return [
            *found[: len(runs)],
            *(
                replace(one, n=self.n, alpha=self.alpha, norm=self.norm, sound_together=False)
                for one in found[len(runs) :]
            ),
        ]


@dataclass(frozen=True)
class _Source:
    """What one log or run says of each input, at alpha / K: arrays and lists `[inputs]`."""

    name: str
    predictions: list[int]
    lower: Float64s
    upper: Float64s
    sigmas: Sequence[float | None]
    n: int | None
    alpha: float | None
    said: str


def choose(
    runs: Sequence[EvaluatedRun], *, n: int | None = None, alpha: float | None = None
) -> Choice:
    """Choose, for each input, among what several logs or runs certify.

    Args:
        runs: two or more of the same inputs, and in the same norm; the first ones are asked for the
            class.
        n: estimation votes of the logs, which do not say them; None where it is not known.
        alpha: failure probability of a certificate in the logs, one-sided; None where not known.

    Raises:
        InputError: fewer than two, other inputs, other norms, or a log in another norm than l2.
        ConfigurationError: radii that cannot come from sigma, n and alpha; or those out of range.
    """
    if len(runs) < 2:
        raise InputError("there is nothing to choose among: give at least two logs or runs")
    norms = {run.norm or "l2" for run in runs}
    if len(norms) > 1 or (norms != {"l2"} and any(run.log for run in runs)):
        raise InputError(
            f"radii in {', '.join(sorted(norms))}: a choice is among certificates in one norm, and "
            "among logs in l2 alone, whose counts follow from their radii"
        )
    rows = [_matched(run, runs[0]) for run in runs]
    share = 1 / len(runs)
    sources = [
        _of_log(run, some, share, n, alpha) if run.log else _of_run(run, some, share)
        for run, some in zip(runs, rows, strict=True)
    ]
    inputs = range(len(rows[0]))
    alphas = [source.alpha for source in sources if source.alpha is not None]
    counts = {source.n for source in sources}
    return Choice(
        EvaluatedRun(CHOICE, [_chosen(rows[0][at], sources, at) for at in inputs], None),
        EvaluatedRun(
            AT_MOST, [_chosen(rows[0][at], sources, at, most=True) for at in inputs], None
        ),
        counts.pop() if len(counts) == 1 else None,
        max(alphas) if len(alphas) == len(sources) else None,
        norms.pop(),
        _note(sources),
    )


def check_settings(n: int | None, alpha: float | None) -> None:
    """Refuse votes and a failure probability that no log can have; None is not known.

    Raises:
        ConfigurationError: one of them is out of range.
    """
    least_counts([], 1 if n is None else n, 0.5 if alpha is None else alpha)


def sigma_in_name(path: Path | None) -> float | None:
    """The sigma in the name of a log or of its folders: `sigma_0.50`, else `noise_0.25`."""
    if path is None:
        return None
    text = "/".join(path.resolve().parts[-1 - FOLDERS :])
    for word in ("sigma", "noise"):
        found = re.findall(rf"{word}[-_=]?([0-9]+(?:\.[0-9]+)?)", text)
        if found:
            return float(found[-1]) or None
    return None


def _matched(run: EvaluatedRun, first: EvaluatedRun) -> list[Row]:
    """The rows of a run in the order of the first one's."""
    if all(one.log is None or one.log.indexed for one in (run, first)):
        by_index = {row.index: row for row in run.rows}
        rows = [by_index[row.index] for row in first.rows if row.index in by_index]
    else:
        rows = list(run.rows)
    if (
        len(run.rows) != len(first.rows)
        or [row.label for row in rows] != [row.label for row in first.rows]
        or any(map(_differ, rows, first.rows))
    ):
        raise InputError(
            f"{run.name} is not of the inputs of {first.name}: choose among logs or runs of the "
            "same inputs"
        )
    return rows


def _differ(row: Row, other: Row) -> bool:
    """Whether two rows are of inputs that they record, and these are two."""
    if not (isinstance(row, CertifiedRow) and isinstance(other, CertifiedRow)):
        return False
    return row.certificate.input_digest != other.certificate.input_digest


def _of_run(run: EvaluatedRun, rows: Sequence[Row], share: float) -> _Source:
    certificates = [row.certificate for row in rows if isinstance(row, CertifiedRow)]
    if len(certificates) < len(rows):
        raise InputError(f"{run.name} does not record counts, which a choice needs: certify again")
    radii = np.array([recompute_radius(_at_share(one, share)) for one in certificates])
    counts = {certificate.n for certificate in certificates}
    return _Source(
        run.name,
        [certificate.own_prediction for certificate in certificates],
        radii,
        radii,
        [certificate.sigma for certificate in certificates],
        counts.pop() if len(counts) == 1 else None,
        max(sum(part.alpha for part in certificate.parts) for certificate in certificates),
        "its own counts",
    )


def _at_share(certificate: Certificate, share: float) -> Certificate:
    further = tuple(replace(part, alpha=part.alpha * share) for part in certificate.further)
    return replace(certificate, alpha=certificate.alpha * share, further=further)


def _of_log(
    run: EvaluatedRun, rows: Sequence[Row], share: float, n: int | None, alpha: float | None
) -> _Source:
    named = sigma_in_name(run.path)
    sigmas = [row.sigma if isinstance(row, LoggedRow) and row.sigma else named for row in rows]
    radii = np.array([row.radius for row in rows])
    step = _steps(run, radii)
    lower, upper = np.zeros(len(rows)), radii + step
    claims = np.array([row.prediction != ABSTAIN for row in rows])
    known = claims & np.array([sigma is not None for sigma in sigmas])
    misfits = 0
    if n is not None and alpha is not None:
        scale = np.array([sigma or 1.0 for sigma in sigmas])
        fewest = _counts((radii - step / 2) * (1 - ARITHMETIC) / scale, n, alpha)
        most = _counts(upper * (1 + ARITHMETIC) / scale, n, alpha) - 1
        misfits = int((known & (fewest > most)).sum())
        impossible = known & (fewest > n)
        if impossible.any():
            at = int(impossible.argmax())
            raise ConfigurationError(
                f"{run.name} has radius {radii[at]:g}, which {n} votes cannot prove at "
                f"alpha = {alpha:g} and sigma = {scale[at]:g}: --n, --alpha, or the sigma that its "
                "name says, are not its own"
            )
        for limit, counts in ((lower, np.minimum(fewest, most)), (upper, most)):
            for at in np.flatnonzero(known).tolist():
                limit[at] = _radius(float(scale[at]), int(counts[at]), n, alpha * share)
    said = (
        "its column sigma"
        if any(getattr(row, "sigma", None) for row in rows)
        else (f"sigma {named:g} by its name" if named else "sigma not known")
    )
    if misfits:
        said += f", but {misfits} radii fit no count: are these its sigma, n and alpha?"
    return _Source(run.name, [row.prediction for row in rows], lower, upper, sigmas, n, alpha, said)


def _steps(run: EvaluatedRun, radii: Float64s) -> Float64s:
    """How far the next number lies that the log could have written: the wider of two readings.

    A script prints three significant digits, another four decimals; the log shows at most so many.
    What was rounded lies within half a step, or above by less than one where it was rounded down.
    """
    log = run.log
    if log is None:
        return np.zeros(len(radii))
    places = [floor(log10(radius)) + 1 - log.digits if radius > 0 else -9 for radius in radii]
    return np.maximum(10.0 ** np.array(places), 10.0**-log.decimals)


def _counts(quantiles: Float64s, n: int, alpha: float) -> npt.NDArray[np.int64]:
    """The least counts that prove radii of so many sigmas, `[inputs]`; n + 1 where none does."""
    from scipy.special import ndtr

    proved = ndtr(np.maximum(0.0, quantiles))
    distinct, at = np.unique(proved, return_inverse=True)  # few digits, so few radii
    return least_counts(distinct, n, alpha)[at]


@lru_cache(maxsize=2**16)
def _radius(sigma: float, count: int, n: int, level: float) -> float:
    p_lower, p_upper = Confidence(level).interval(count, 0, n)
    return noise_for_norm("l2").radius(sigma, p_lower, p_upper)


def _chosen(row: Row, sources: Sequence[_Source], at: int, *, most: bool = False) -> LoggedRow:
    classes = [source.predictions[at] for source in sources]
    prediction = next((one for one in classes if one != ABSTAIN), ABSTAIN)
    radius, sigma = max(
        (
            (float((source.upper if most else source.lower)[at]), source.sigmas[at] or 0.0)
            for source, one in zip(sources, classes, strict=True)
            if one == prediction != ABSTAIN
        ),
        default=(0.0, 0.0),
    )
    if radius <= 0:
        prediction = ABSTAIN
    correct = prediction == row.label != ABSTAIN
    return LoggedRow(row.index, row.label, prediction, radius, correct, None, sigma or None)


def _note(sources: Sequence[_Source]) -> str:
    said = "; ".join(f"{source.name}: {source.said}" for source in sources)
    text = (
        f"{CHOICE}: the class of the first of these {len(sources)} that does not abstain, and the "
        f"largest radius that any proves for it, each at alpha / {len(sources)}, so that all hold "
        "at once. The classifier or its sigma then differs between inputs: this is not one "
        "smoothed classifier. Its certificates are sound together only through a memory, which "
        f"may shorten radii. Counts from: {said}."
    )
    if any(source.n is None or source.alpha is None for source in sources):
        text += " Where n or alpha is not known (--n, --alpha) nothing counts in the lower figure."
    return text
