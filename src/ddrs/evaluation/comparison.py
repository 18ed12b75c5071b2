"""Runs side by side: certified accuracy at chosen radii, ACR, and what it cost."""

import csv
import io
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from ddrs.display.foreign import csv_text, markdown_text, visible
from ddrs.display.markdown import table
from ddrs.display.rounding import radius_key, rounded_down, rounded_up
from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.summary import INTERVAL_LEVEL, certified_figures
from ddrs.evaluation.worth import CommonAnswer, discounted_figures, one_answer, wrong_share
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import CertifiedRow, Row
from ddrs.runs.table import EvaluatedRun

__all__ = [
    "NO_LABELS",
    "Comparison",
    "Format",
    "compare",
    "marked",
    "notes",
    "other_settings",
    "render",
]

Format = Literal["markdown", "csv", "json"]

UNKNOWN = "-"
LONGEST = 200  # characters of a text in a note
NOT_TOGETHER = "*"
"""The mark of a run whose certificates are not sound together."""
OTHER_INPUTS = "#"
"""The mark of a run on other inputs than most of those beside it."""
OTHER_SETTINGS = "+"
"""The mark of a run that shows certificates of other runs, made with other settings."""
AT_MOST = "at most"
NO_LABELS = (
    "No labels, so no accuracy: the share of inputs that are answered, rightly or not, with a "
    "certified radius of at least r."
)
"""What stands above the figures of runs without labels."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The exact figures of one run or log; None where a log does not record one.

    Attributes:
        run: its name.
        inputs: how many were evaluated.
        clean_accuracy: accuracy of the base classifier, without noise.
        certified_accuracy: by radius, as `radius_key` writes it: `{"0.50": ...}`; empty without
            labels.
        certified_accuracy_interval: its confidence interval, by radius.
        acr: the average certified radius; None without labels.
        answered: without labels, the share of inputs that are answered, with whatever class, and a
            radius of at least r, by radius; empty with labels.
        mean_radius: without labels, the mean of all radii, that of an abstention being 0.
        abstained: inputs without a certified class.
        votes: noisy forward passes of all inputs.
        seconds: time that all inputs took.
        trimmed: inputs whose radius the memory cut; None without a memory.
        inherited: inputs that were answered from the region of another; None without a memory.
        n: estimation votes per input; None where they differ.
        n_at_most: the most estimation votes that an input could take.
        question: when the estimation of an input stopped; None for a fixed number of votes.
        alpha: failure probability of a certificate; None where it differs.
        norm: `"l2"` or `"l1"`; None where it differs.
        sound_together: whether all certificates hold for one classifier; False for a log whose
            sigmas differ, None for others.
        cascade: whether that classifier asks several sigmas, and so needs no memory.
        routed: whether a router picks the sigma, so that no memory is needed.
        same_inputs: whether these are the inputs of most runs; of the first of them, where two
            sets of inputs are as frequent.
        wrong: by radius, the share of inputs that are certified with another class than their
            label.
        discounted: by radius, the certified accuracy without what constant answers get; None where
            the sigma that a policy started from is not recorded.
        discounted_acr: the ACR likewise.
        null: by radius, what constant classifiers get through the memory; None without a memory,
            and at radii that the run did not look at.
        start: the sigma at which the policy starts; None for a method that needs no memory.
        calibration: the largest sigma that a calibration allows; None without one.
        common: an answer that is given far more often than it is true; None where there is none.
        other_settings: rows that a shared memory gave, made with other settings (see `Summary`).
    """

    run: str
    inputs: int
    clean_accuracy: float | None = None
    certified_accuracy: dict[str, float]
    certified_accuracy_interval: dict[str, tuple[float, float]]
    acr: float | None
    answered: dict[str, float]
    mean_radius: float | None
    abstained: int
    votes: int | None = None
    seconds: float | None
    trimmed: int | None = None
    inherited: int | None = None
    n: int | None = None
    n_at_most: int | None = None
    question: str | None = None
    alpha: float | None = None
    norm: str | None = None
    sound_together: bool | None = None
    cascade: bool = False
    routed: bool = False
    same_inputs: bool
    wrong: dict[str, float]
    discounted: dict[str, float] | None = None
    discounted_acr: float | None = None
    null: dict[str, float | None] | None = None
    start: float | None = None
    calibration: float | None = None
    common: CommonAnswer | None = None
    other_settings: dict[str, int] = field(default_factory=dict)

    @property
    def varied(self) -> bool:
        """Whether a policy chose sigma or the classifier for each input."""
        return self.start is not None

    @property
    def labelled(self) -> bool:
        """Whether the inputs had labels, and so there is an accuracy."""
        return self.acr is not None


def compare(
    runs: Sequence[EvaluatedRun], radii: Iterable[float] = DEFAULT_RADII
) -> list[Comparison]:
    """The figures of each run, in the order given.

    Args:
        runs: what `read_runs` returned.
        radii: radii to give the certified accuracy at, in the units of the rows' radii.

    Raises:
        InputError: no runs, or a run without rows.
        ConfigurationError: a radius that is negative or not a number.
    """
    if not runs:
        raise InputError("there is nothing to compare: give at least one run or log")
    radii = list(radii)
    numbered = all(run.log is None or run.log.indexed for run in runs)
    inputs = [_inputs(run.rows, numbered) for run in runs]
    usual = Counter(inputs).most_common(1)[0][0]
    return [
        _comparison(run, radii, same_inputs=some == usual)
        for run, some in zip(runs, inputs, strict=True)
    ]


def render(comparisons: Sequence[Comparison], format: Format = "markdown") -> str:
    """A comparison as text, without a final newline.

    Markdown is for people: columns that line up in a terminal too, accuracies to three digits,
    radii rounded down, and below the table what one needs to judge it. CSV and JSON keep every
    digit, and the interval of each accuracy.

    Args:
        comparisons: what `compare` returned.
        format: `"markdown"`, `"csv"` or `"json"`.

    Raises:
        ConfigurationError: another format.
    """
    if format == "json":
        text = json.dumps([asdict(one) for one in comparisons], indent=2)
        return text.replace("\x7f", r"\u007f")  # the one control character that is left as it is
    if format == "csv":
        return _csv(comparisons)
    if format == "markdown":
        return _markdown(comparisons)
    raise ConfigurationError(f"no format {format!r}: use one of {', '.join(get_args(Format))}")


def notes(comparisons: Sequence[Comparison]) -> str:
    """What one needs to judge the figures of a comparison, in one sentence."""
    half_width = max(
        (
            max(high - accuracy, accuracy - low)
            for one in comparisons
            for radius, accuracy in one.certified_accuracy.items()
            for low, high in [one.certified_accuracy_interval[radius]]
        ),
        default=0.0,
    )
    votes = _distinct(map(_votes, comparisons))
    alpha, inputs, norm = (
        _distinct(_recorded(getattr(one, name)) for one in comparisons)
        for name in ("alpha", "inputs", "norm")
    )
    parts = [
        f"n {'' if votes.startswith(AT_MOST) else '= '}{votes}, alpha = {alpha}, "
        f"inputs = {inputs}, norm = {norm}"
    ]
    if any(one.labelled for one in comparisons):
        parts.append(
            f"{INTERVAL_LEVEL:.0%} intervals of the accuracies at r reach at most "
            f"{rounded_up(half_width, 3)} to either side"
        )
    if not all(one.same_inputs for one in comparisons):
        parts.append(
            f"NOT all on the same inputs: {OTHER_INPUTS} marks those on others than most here"
        )
    if any(one.sound_together is False for one in comparisons):
        parts.append(
            f"{NOT_TOGETHER} sigma or the classifier varies without a memory: these certificates "
            "are not sound together"
        )
    if any(one.cascade for one in comparisons):
        parts.append("a cascade is one classifier at several sigmas: it needs no memory")
    if any(one.routed for one in comparisons):
        parts.append("a router with its classifiers is one classifier: it needs no memory")
    others = [other_settings(one.other_settings, one.inputs) for one in comparisons]
    if any(others):
        told = " / ".join(text for text in others if text)
        parts.append(f"{OTHER_SETTINGS} other runs that share the memory made {told}")
    parts += _worth_notes(comparisons)
    return "; ".join(parts) + "."


def marked(one: Comparison) -> str:
    """The name of a run, with the marks that `notes` explains."""
    marks = NOT_TOGETHER * (one.sound_together is False) + OTHER_INPUTS * (not one.same_inputs)
    return one.run.strip() + marks + OTHER_SETTINGS * bool(one.other_settings)


def other_settings(found: Mapping[str, int], inputs: int) -> str:
    """How many of a run's certificates were made with other settings, and which; "" for none."""
    if not found:
        return ""
    which = ", ".join(f"{name} in {count}" for name, count in found.items() if name != "rows")
    return f"{found.get('rows', 0)} of {inputs} certificates, with other settings ({which})"


def _worth_notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What the figures of a policy or of a constant answer are worth."""
    if any(one.varied for one in comparisons):
        yield (
            "below a run that chose sigma by input: its certified accuracy without what constant "
            "answers get, the inputs certified with a wrong class, and what constant classifiers "
            "get by the same memory (the null)"
        )
    unguarded = [one.run for one in comparisons if one.varied and one.calibration is None]
    if unguarded:
        yield f"no calibration limits sigma in {', '.join(unguarded)}"
    for one in comparisons:
        if one.common is not None:
            yield (
                f"{one.run} answers {one.common.answer} for {one.common.share:.3f} of the inputs "
                f"where it is true for {one.common.labels:.3f}: nearly constant"
            )


def _inputs(rows: Sequence[Row], numbered: bool) -> Hashable:
    """What tells inputs from others: number and label, or labels in order where a log has no more.

    As a digest: thousands of logs may stand beside each other.
    """
    if numbered:
        return hash(frozenset((row.index, row.label) for row in rows)), len(rows)
    return hash(tuple(row.label for row in rows)), len(rows)


def _comparison(run: EvaluatedRun, radii: Sequence[float], *, same_inputs: bool) -> Comparison:
    logged = Comparison(
        run=run.name,
        **certified_figures(run.rows, radii),
        abstained=sum(row.prediction == ABSTAIN for row in run.rows),
        seconds=_seconds(run.rows),
        norm=run.norm,
        sound_together=False if len(set(run.sigmas or ())) > 1 else None,
        same_inputs=same_inputs,
        wrong={} if None in {row.label for row in run.rows} else wrong_share(run.rows, radii),
        common=one_answer(run.rows),
    )
    summary = run.summary
    if summary is None:
        return logged
    names = ("clean_accuracy", "votes", "seconds", "n", "n_at_most", "question", "alpha", "norm")
    return replace(
        logged,
        **{name: getattr(summary, name) for name in names},
        trimmed=summary.memory.trimmed if summary.memory.on else None,
        inherited=summary.memory.inherited if summary.memory.on else None,
        sound_together=summary.sound_together,
        cascade=any(isinstance(row, CertifiedRow) and row.certificate.p0 > 0 for row in run.rows),
        routed=any(
            isinstance(row, CertifiedRow) and row.certificate.parts[-1].role == "route"
            for row in run.rows
        ),
        start=summary.start,
        calibration=summary.calibration,
        null=_at(summary.null, radii),
        **_discounted(run, radii),
        other_settings=summary.other_settings,
    )


def _at(found: dict[str, float] | None, radii: Sequence[float]) -> dict[str, float | None] | None:
    """The figures at these radii; None where there is none."""
    return None if found is None else {radius_key(r): found.get(radius_key(r)) for r in radii}


def _discounted(run: EvaluatedRun, radii: Sequence[float]) -> dict[str, Any]:
    """The discounted figures; nothing where rows or start are not recorded."""
    rows = [row for row in run.rows if isinstance(row, CertifiedRow)]
    recorded = run.summary is not None and run.summary.discounted_acr is not None
    if run.summary is None or not recorded or len(rows) < len(run.rows):
        return {}
    return {**discounted_figures(rows, radii, run.summary.start)}


def _seconds(rows: Sequence[Row]) -> float | None:
    """The time of all rows; None where that of one is not recorded."""
    recorded = [row.seconds for row in rows if row.seconds is not None]
    return sum(recorded) if len(recorded) == len(rows) else None


def _csv(comparisons: Sequence[Comparison]) -> str:
    records = [_record(one) for one in comparisons]
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def _record(one: Comparison) -> dict[str, Any]:
    """Column -> value, three columns per radius; None is an empty cell, read as missing."""
    record: dict[str, Any] = {}
    for key, value in asdict(one).items():
        if key == "certified_accuracy":
            for radius, accuracy in value.items():
                low, high = one.certified_accuracy_interval[radius]
                record[f"certified_{radius}"] = accuracy
                record[f"certified_{radius}_low"] = low
                record[f"certified_{radius}_high"] = high
        elif key == "answered":
            record.update({f"answered_{radius}": share for radius, share in value.items()})
        elif key in ("wrong", "discounted", "null"):
            for radius in one.certified_accuracy:
                record[f"{key}_{radius}"] = None if value is None else value[radius]
        elif key == "common":
            record["common_answer"] = None if value is None else value["answer"]
            record["common_share"] = None if value is None else value["share"]
        elif key == "other_settings":
            record[key] = other_settings(value, one.inputs) or None
        elif key != "certified_accuracy_interval" and not (key == "mean_radius" and one.labelled):
            record[key] = csv_text(value) if isinstance(value, str) else value
    return record


def _markdown(comparisons: Sequence[Comparison]) -> str:
    """A table of the runs with labels, one of those without, and the notes on both."""
    parts = []
    for labelled in (True, False):
        cells = [
            row
            for one in comparisons
            if one.labelled is labelled
            for row in (_cells(one), *_worth_cells(one))
        ]
        if cells:
            parts += [] if labelled else [NO_LABELS]
            parts.append(table(list(cells[0]), [row.values() for row in cells]))
    return "\n\n".join([*parts, markdown_text(notes(comparisons), None)])


def _cells(one: Comparison) -> dict[str, str]:
    """Heading -> cell."""
    return {
        "run": marked(one),
        "inputs": str(one.inputs),
        **_figures(one),
        "abstained": str(one.abstained),
        "votes": _known(one.votes, "d"),
        "seconds": _known(one.seconds, ".1f"),
        "trimmed": _known(one.trimmed, "d"),
        "inherited": _known(one.inherited, "d"),
    }


def _worth_cells(one: Comparison) -> Iterator[dict[str, str]]:
    """The lines below a run that chose sigma by input; as `_cells`."""
    if not one.varied or not one.labelled:
        return
    empty = dict.fromkeys(_cells(one), "")
    lines = {"discounted": one.discounted, "wrong": one.wrong, "null": one.null}
    for name, figures in lines.items():
        if figures is not None:
            acr = one.discounted_acr if name == "discounted" else None
            yield {
                **empty,
                "run": f"- {name}",
                **{f"r={radius}": _known(value, ".3f") for radius, value in figures.items()},
                "ACR": "" if acr is None else rounded_down(acr, 3),
            }


def _figures(one: Comparison) -> dict[str, str]:
    """The accuracies and the ACR; without labels the shares answered and the mean radius."""
    if one.acr is None:
        shares = {f"r={radius}": f"{share:.3f}" for radius, share in one.answered.items()}
        return {**shares, "mean radius": rounded_down(one.mean_radius or 0.0, 3)}
    return {
        "clean": _known(one.clean_accuracy, ".3f"),
        **{f"r={radius}": f"{value:.3f}" for radius, value in one.certified_accuracy.items()},
        "ACR": rounded_down(one.acr, 3),
    }


def _known(value: float | None, spec: str) -> str:
    return UNKNOWN if value is None else format(value, spec)


def _votes(one: Comparison) -> str:
    """The estimation votes per input of a run."""
    if one.question is None:
        return _recorded(one.n)
    return f"{AT_MOST} {_recorded(one.n_at_most)} ({_recorded(one.question)})"


def _distinct(texts: Iterable[str]) -> str:
    """The distinct texts, in the order of the runs."""
    return " / ".join(dict.fromkeys(texts))


def _recorded(value: object) -> str:
    return "not recorded" if value is None else visible(str(value), LONGEST)
