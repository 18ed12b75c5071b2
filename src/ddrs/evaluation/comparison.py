"""Runs side by side: certified accuracy at chosen radii, ACR, and what it cost."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from ddrs.display.markdown import table
from ddrs.display.rounding import rounded_down, rounded_up
from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.summary import INTERVAL_LEVEL, certified_figures
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import Row
from ddrs.runs.table import EvaluatedRun

__all__ = ["Comparison", "Format", "compare", "marks", "notes", "other_settings", "render"]

Format = Literal["markdown", "csv", "json"]

UNKNOWN = "-"
NOT_TOGETHER = "*"
"""The mark of a run whose certificates are not sound together."""
OTHER_SETTINGS = "+"
"""The mark of a run that shows certificates of other runs, made with other settings."""
AT_MOST = "at most"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The exact figures of one run or log; None where a log does not record one.

    Attributes:
        run: its name.
        inputs: how many were evaluated.
        clean_accuracy: accuracy of the base classifier, without noise.
        certified_accuracy: by radius, as `radius_key` writes it: `{"0.50": ...}`.
        certified_accuracy_interval: its confidence interval, by radius.
        acr: the average certified radius.
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
        sound_together: whether all certificates hold for one classifier.
        same_inputs: whether these are the inputs of the first run.
        other_settings: rows that a shared memory gave, made with other settings (see `Summary`).
    """

    run: str
    inputs: int
    clean_accuracy: float | None = None
    certified_accuracy: dict[str, float]
    certified_accuracy_interval: dict[str, tuple[float, float]]
    acr: float
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
    same_inputs: bool
    other_settings: dict[str, int] = field(default_factory=dict)


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
    first = _inputs(runs[0].rows)
    return [_comparison(run, radii, same_inputs=_inputs(run.rows) == first) for run in runs]


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
        return json.dumps([asdict(one) for one in comparisons], indent=2)
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
        f"inputs = {inputs}, norm = {norm}",
        f"{INTERVAL_LEVEL:.0%} intervals of the accuracies at r reach at most "
        f"{rounded_up(half_width, 3)} to either side",
    ]
    if not all(one.same_inputs for one in comparisons):
        parts.append("NOT all on the same inputs")
    if any(one.sound_together is False for one in comparisons):
        parts.append(
            f"{NOT_TOGETHER} sigma or the classifier varies without a memory: these certificates "
            "are not sound together"
        )
    others = [other_settings(one.other_settings, one.inputs) for one in comparisons]
    if any(others):
        told = " / ".join(text for text in others if text)
        parts.append(f"{OTHER_SETTINGS} other runs that share the memory made {told}")
    return "; ".join(parts) + "."


def marks(one: Comparison) -> str:
    """What is put behind the name of a run, for `notes` to explain."""
    apart, others = one.sound_together is False, bool(one.other_settings)
    return NOT_TOGETHER * apart + OTHER_SETTINGS * others


def other_settings(found: Mapping[str, int], inputs: int) -> str:
    """How many of a run's certificates were made with other settings, and which; "" for none."""
    if not found:
        return ""
    which = ", ".join(f"{name} in {count}" for name, count in found.items() if name != "rows")
    return f"{found.get('rows', 0)} of {inputs} certificates, with other settings ({which})"


def _inputs(rows: Sequence[Row]) -> set[tuple[int, int]]:
    return {(row.index, row.label) for row in rows}


def _comparison(run: EvaluatedRun, radii: Sequence[float], *, same_inputs: bool) -> Comparison:
    logged = Comparison(
        run=run.name,
        **certified_figures(run.rows, radii),
        abstained=sum(row.prediction == ABSTAIN for row in run.rows),
        seconds=_seconds(run.rows),
        same_inputs=same_inputs,
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
        other_settings=summary.other_settings,
    )


def _seconds(rows: Sequence[Row]) -> float | None:
    """The time of all rows; None where that of one is not recorded."""
    recorded = [row.seconds for row in rows if row.seconds is not None]
    return sum(recorded) if len(recorded) == len(rows) else None


def _csv(comparisons: Sequence[Comparison]) -> str:
    records = [_record(one) for one in comparisons]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
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
        elif key == "other_settings":
            record[key] = other_settings(value, one.inputs) or None
        elif key != "certified_accuracy_interval":
            record[key] = value
    return record


def _markdown(comparisons: Sequence[Comparison]) -> str:
    cells = [_cells(one) for one in comparisons]
    return f"{table(list(cells[0]), [row.values() for row in cells])}\n\n{notes(comparisons)}"


def _cells(one: Comparison) -> dict[str, str]:
    """Heading -> cell."""
    return {
        "run": one.run.strip() + marks(one),
        "inputs": str(one.inputs),
        "clean": _known(one.clean_accuracy, ".3f"),
        **{f"r={radius}": f"{value:.3f}" for radius, value in one.certified_accuracy.items()},
        "ACR": rounded_down(one.acr, 3),
        "abstained": str(one.abstained),
        "votes": _known(one.votes, "d"),
        "seconds": _known(one.seconds, ".1f"),
        "trimmed": _known(one.trimmed, "d"),
        "inherited": _known(one.inherited, "d"),
    }


def _known(value: float | None, spec: str) -> str:
    return UNKNOWN if value is None else format(value, spec)


def _votes(one: Comparison) -> str:
    """The estimation votes per input of a run."""
    if one.question is None:
        return _recorded(one.n)
    return f"{AT_MOST} {_recorded(one.n_at_most)} ({one.question})"


def _distinct(texts: Iterable[str]) -> str:
    """The distinct texts, in the order of the runs."""
    return " / ".join(dict.fromkeys(texts))


def _recorded(value: object) -> str:
    return "not recorded" if value is None else str(value)
