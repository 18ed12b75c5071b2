"""Fixed sigmas, the choice among them, and its null, from published logs of the same inputs.

    python -m experiments.published --logs DIR [--n 100000] [--alpha 0.001] [--out FOLDER]

DIR holds a folder for each training, and in it a log for each sigma, `noise_0.25.tsv`. FOLDER gets
`figures.json`, with every digit, and `table.md`.

- fixed: one log, as published.
- choice: `ddrs table --choose` among the logs of one training, or of all, the smallest sigma first.
- null: what the memory rule certifies for constant classifiers. Each input gets the classifier that
  always answers the class of the first log that does not abstain, at the largest sigma: all its
  votes agree, at alpha / K.

A memory may shorten the radii of the last two where inputs of two classes lie close; logs do not
say where inputs lie, so the figures are those before that.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ddrs.display.markdown import table
from ddrs.display.rounding import radius_key, rounded_down
from ddrs.evaluation.metrics import certified_hits
from ddrs.evaluation.summary import certified_figures
from ddrs.files import write
from ddrs.finished.choice import choose, sigma_in_name
from ddrs.noise.distributions import Gaussian
from ddrs.proof.bounds import Confidence
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import LoggedRow, Row
from ddrs.runs.table import EvaluatedRun, read_runs
from ddrs.version import __version__

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
OUT = Path(__file__).parent / "records"
ALL = "all"


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        training: the folder of the logs, or `"all"`.
        kind: `"fixed"`, `"choice"`, `"choice, at most"` or `"null"`.
        sigma: that of a fixed line; None for the others.
        sources: how many logs it is made from, K.
        figures: inputs, ACR, certified accuracies with their intervals.
        wrong: share of inputs certified with another class than the label, by radius.
    """

    training: str
    kind: str
    sigma: float | None
    sources: int
    figures: dict[str, Any]
    wrong: dict[str, float]


def main(words: Sequence[str] | None = None) -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    asked = parser.parse_args(words)
    lines = list(published(asked.logs, asked.n, asked.alpha))
    record = {
        "command": f"python -m experiments.published --logs DIR --n {asked.n} "
        f"--alpha {asked.alpha:g}",
        "version": __version__,
        "n": asked.n,
        "alpha": asked.alpha,
        "lines": [asdict(line) for line in lines],
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    write(asked.out / "figures.json", json.dumps(record, indent=1) + "\n", "figures")
    write(asked.out / "table.md", page(record, lines), "table")
    print(f"{asked.out / 'table.md'}: {len(lines)} lines")


def published(logs: Path, n: int, alpha: float) -> Iterator[Line]:
    """The lines of every training in a folder, then those of all of them together."""
    every: list[EvaluatedRun] = []
    for folder in sorted(path for path in logs.iterdir() if path.is_dir()):
        runs = _by_sigma(read_runs(sorted(folder.glob("noise_*.tsv"))))
        every += runs
        for run in runs:
            yield _line(folder.name, "fixed", run.rows, 1, sigma_in_name(run.path))
        yield from _chosen(folder.name, runs, n, alpha)
    yield from _chosen(ALL, _by_sigma(every), n, alpha)


def _by_sigma(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    return sorted(runs, key=lambda run: sigma_in_name(run.path) or 0.0)


def _chosen(training: str, runs: Sequence[EvaluatedRun], n: int, alpha: float) -> Iterator[Line]:
    choice = choose(runs, n=n, alpha=alpha)
    for run in (choice.lower, choice.upper):
        yield _line(training, run.name, run.rows, len(runs))
    p_lower, p_upper = Confidence(alpha / len(runs)).interval(n, 0, n)
    radius = Gaussian().radius(sigma_in_name(runs[-1].path) or 0.0, p_lower, p_upper)
    yield _line(training, "null", constant(runs, radius), len(runs))


def constant(runs: Sequence[EvaluatedRun], radius: float) -> list[LoggedRow]:
    """The rows of constant classifiers, of the class of the first run that does not abstain."""
    by_index = [{row.index: row.prediction for row in run.rows} for run in runs]
    rows = []
    for row in runs[0].rows:
        answers = (predictions[row.index] for predictions in by_index)
        answer = next((one for one in answers if one != ABSTAIN), ABSTAIN)
        reach = 0.0 if answer == ABSTAIN else radius
        rows.append(LoggedRow(row.index, row.label, answer, reach, answer == row.label))
    return rows


def _line(
    training: str, kind: str, rows: Sequence[Row], sources: int, sigma: float | None = None
) -> Line:
    false = [
        replace(_logged(row), correct=row.prediction not in (ABSTAIN, row.label)) for row in rows
    ]
    hits, inputs = certified_hits(false, RADII)
    wrong = {radius_key(r): int(hit) / inputs for r, hit in zip(RADII, hits, strict=True)}
    return Line(training, kind, sigma, sources, dict(certified_figures(rows, RADII)), wrong)


def _logged(row: Row) -> LoggedRow:
    return LoggedRow(row.index, row.label, row.prediction, row.radius, row.correct)


def page(record: dict[str, Any], lines: Sequence[Line]) -> str:
    """The table with what one needs to judge it."""
    widest = max(
        max(high - accuracy, accuracy - low)
        for line in lines
        for key, accuracy in line.figures["certified_accuracy"].items()
        for low, high in [line.figures["certified_accuracy_interval"][key]]
    )
    inputs = sorted({line.figures["inputs"] for line in lines})
    names = ["training", "kind", "K", *(f"r={radius_key(r)}" for r in RADII), "ACR"]
    names += ["wrong r=0.00", "wrong r=0.50", "wrong r=1.00"]
    return (
        "# Published certificates: fixed sigmas, the choice among them, and its null\n\n"
        f"{table(names, map(_cells, lines), left=2)}\n\n"
        f"`{record['command']}`, ddrs {record['version']}; n = {record['n']}, "
        f"alpha = {record['alpha']:g} in all for an input, alpha / K for each of the K logs behind "
        f"it; inputs: {', '.join(map(str, inputs))}; 95 % intervals of the accuracies reach at "
        f"most {widest:.3f} to either side. `wrong`: share of inputs certified with another class "
        "than their label. The choice and the null give each input a classifier or a sigma of its "
        "own: they are not one smoothed classifier, and hold together only through a memory, "
        "which may shorten radii where inputs of two classes lie close.\n"
    )


def _cells(line: Line) -> list[str]:
    kind = line.kind if line.sigma is None else f"{line.kind} {line.sigma:g}"
    accuracies = line.figures["certified_accuracy"].values()
    return [
        line.training,
        kind,
        str(line.sources),
        *(f"{accuracy:.3f}" for accuracy in accuracies),
        rounded_down(line.figures["acr"], 3),
        *(f"{line.wrong[key]:.3f}" for key in ("0.00", "0.50", "1.00")),
    ]


if __name__ == "__main__":
    main()
