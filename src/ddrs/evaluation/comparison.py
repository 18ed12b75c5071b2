"""Runs side by side: certified accuracy at chosen radii, ACR, and what it cost."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from ddrs.display.rounding import rounded_down, rounded_up
from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.summary import INTERVAL_LEVEL, certified_figures
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import Row
from ddrs.runs.table import EvaluatedRun

__all__ = ["Format", "Table", "compare", "notes", "render"]

Table = list[dict[str, Any]]
Format = Literal["markdown", "csv", "json"]

UNKNOWN = "-"
NOT_TOGETHER = "*"
AT_MOST = "at most"


def compare(runs: Sequence[EvaluatedRun], radii: Iterable[float] = DEFAULT_RADII) -> Table:
    """One entry a run, with exact figures; None where a log does not record one.

    Args:
        runs: as `read_runs` returns them.
        radii: radii to give the certified accuracy at, in the units of the rows' radii.

    Returns:
        Entries with the keys `run, inputs, clean_accuracy, certified_accuracy {"0.50": ...},
        certified_accuracy_interval {"0.50": [low, high]}, acr, abstained, votes, seconds, trimmed,
        inherited, n, n_at_most, question, alpha, norm, sound_together, same_inputs` (whether these
        are the inputs of the first run). Everything is of plain types that JSON can hold.

    Raises:
        InputError: no runs, or a run without rows.
        ConfigurationError: a radius that is negative or not a number.
    """
    if not runs:
        raise InputError("there is nothing to compare: give at least one run or log")
    radii = list(radii)
    first = _inputs(runs[0].rows)
    return [_entry(run, radii) | {"same_inputs": _inputs(run.rows) == first} for run in runs]


def render(table: Table, format: Format = "markdown") -> str:
    """A comparison as text, without a final newline.

    Markdown is for people: padded columns that align in a terminal too, accuracies to three digits,
    radii rounded down, and below the table what one needs to judge it. CSV and JSON keep every
    digit, and the interval of each accuracy.

    Args:
        table: what `compare` returned.
        format: `"markdown"`, `"csv"` or `"json"`.

    Raises:
        ConfigurationError: another format.
    """
    if format == "json":
        return json.dumps(table, indent=2)
    if format == "csv":
        return _csv(table)
    if format == "markdown":
        return _markdown(table)
    raise ConfigurationError(f"no format {format!r}: use one of {', '.join(get_args(Format))}")


def _inputs(rows: Sequence[Row]) -> set[tuple[int, int]]:
    return {(row.index, row.label) for row in rows}


def _entry(run: EvaluatedRun, radii: list[float]) -> dict[str, Any]:
    rows, summary = run.rows, {} if run.summary is None else run.summary.to_json()
    figures = certified_figures(rows, radii)
    memory = summary.get("memory", {})
    outcomes = memory if memory.get("on") else {}
    seconds = [row.seconds for row in rows]
    recorded = None if None in seconds else sum(s for s in seconds if s is not None)
    return {
        "run": run.name,
        "inputs": figures["inputs"],
        "clean_accuracy": summary.get("clean_accuracy"),
        "certified_accuracy": figures["certified_accuracy"],
        "certified_accuracy_interval": figures["certified_accuracy_interval"],
        "acr": figures["acr"],
        "abstained": sum(row.prediction == ABSTAIN for row in rows),
        "votes": summary.get("votes"),
        "seconds": summary.get("seconds", recorded),
        "trimmed": outcomes.get("trimmed"),
        "inherited": outcomes.get("inherited"),
        "n": summary.get("n"),
        "n_at_most": summary.get("n_at_most"),
        "question": summary.get("question"),
        "alpha": summary.get("alpha"),
        "norm": summary.get("norm"),
        "sound_together": summary.get("sound_together"),
    }


def _csv(table: Table) -> str:
    records = []
    for entry in table:
        record: dict[str, Any] = {}
        for key, value in entry.items():
            if key == "certified_accuracy":
                for radius, accuracy in value.items():
                    low, high = entry["certified_accuracy_interval"][radius]
                    record |= {
                        f"certified_{radius}": accuracy,
                        f"certified_{radius}_low": low,
                        f"certified_{radius}_high": high,
                    }
            elif key != "certified_accuracy_interval":
                record[key] = value  # None becomes an empty cell, which readers take as missing
        records.append(record)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def _markdown(table: Table) -> str:
    cells = [_cells(entry) for entry in table]
    header = list(cells[0])
    widths = [max(len(row[name]) for row in [*cells, {n: n for n in header}]) for name in header]

    def line(texts: Iterable[str]) -> str:
        name, *numbers = texts
        first, *rest = widths
        padded = [text.rjust(width) for text, width in zip(numbers, rest, strict=True)]
        return f"| {' | '.join([name.ljust(first), *padded])} |"

    rules = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    body = [line(header), line(rules), *(line(row.values()) for row in cells)]
    return "\n".join([*body, "", notes(table)])


def _cells(entry: dict[str, Any]) -> dict[str, str]:
    mark = NOT_TOGETHER if entry["sound_together"] is False else ""
    return {
        "run": " ".join(entry["run"].split()).replace("|", r"\|") + mark,
        "inputs": str(entry["inputs"]),
        "clean": _known(entry["clean_accuracy"], ".3f"),
        **{f"r={key}": f"{value:.3f}" for key, value in entry["certified_accuracy"].items()},
        "ACR": rounded_down(entry["acr"], 3),
        "abstained": str(entry["abstained"]),
        "votes": _known(entry["votes"], "d"),
        "seconds": _known(entry["seconds"], ".1f"),
        "trimmed": _known(entry["trimmed"], "d"),
        "inherited": _known(entry["inherited"], "d"),
    }


def _known(value: float | None, spec: str) -> str:
    return UNKNOWN if value is None else format(value, spec)


def notes(table: Table) -> str:
    """What one needs to judge the figures of a comparison, in one sentence."""
    half_width = max(
        (
            max(high - value, value - low)
            for entry in table
            for value, (low, high) in zip(
                entry["certified_accuracy"].values(),
                entry["certified_accuracy_interval"].values(),
                strict=True,
            )
        ),
        default=0.0,
    )
    votes = _distinct(map(_votes, table))
    parts = [
        f"n {'' if votes.startswith(AT_MOST) else '= '}{votes}, alpha = {_values(table, 'alpha')}, "
        f"inputs = {_values(table, 'inputs')}, norm = {_values(table, 'norm')}",
        f"{INTERVAL_LEVEL:.0%} intervals of the accuracies at r reach at most "
        f"{rounded_up(half_width, 3)} to either side",
    ]
    if not all(entry["same_inputs"] for entry in table):
        parts.append("NOT all on the same inputs")
    if any(entry["sound_together"] is False for entry in table):
        parts.append(
            f"{NOT_TOGETHER} sigma or the classifier varies without a memory: these certificates "
            "are not sound together"
        )
    return "; ".join(parts) + "."


def _votes(entry: dict[str, Any]) -> str:
    """The estimation votes of an input of a run."""
    if entry["question"] is None:
        return _recorded(entry["n"])
    return f"{AT_MOST} {_recorded(entry['n_at_most'])} ({entry['question']})"


def _values(table: Table, key: str) -> str:
    return _distinct(_recorded(entry[key]) for entry in table)


def _distinct(texts: Iterable[str]) -> str:
    """The distinct texts, in the order of the runs."""
    return " / ".join(dict.fromkeys(texts))


def _recorded(value: object) -> str:
    return "not recorded" if value is None else str(value)
