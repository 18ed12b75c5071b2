"""Every table and figure of the CIFAR-10 study, made again from its stored certificates.

    python -m experiments.cifar10.report [--out DIR]

It reads `records/`, and writes `tables.md` and the figures that are in it, by default to `made/`.
What is not certified yet is named there, and what can be made without it is made. Two questions are
kept apart: what somebody gains who chooses one row by validation data ("deployable"), and the best
row at each radius on the test data ("envelope"), which is how the paper's tables were formed.

Run it from the root of the project: the pictures need the data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ddrs.display.plots import write_figure
from ddrs.errors import DDRSError, RunError
from ddrs.files import write
from experiments.cifar10.report.deployable import chosen_row, confirmation, deployable, headline
from experiments.cifar10.report.figures import draw_all
from experiments.cifar10.report.limits import at_the_limit
from experiments.cifar10.report.probed import attack_section, stream_section
from experiments.cifar10.report.stored import Entry, read_study
from experiments.cifar10.report.tables import (
    all_rows,
    differences,
    envelope,
    side_by_side,
    two_sided,
)
from experiments.cifar10.study import HERE, PLAN, RECORDS, read

NORMS = {"l2": "l2: Gaussian noise", "l1": "l1: uniform noise"}


def build(plan: Path, records: Path, out: Path) -> None:
    """Write `tables.md` and the figures that it shows.

    Args:
        plan: the files of the study.
        records: what came of it, as `study.py` keeps it.
        out: where to write; what is there is replaced file by file, once all is made.

    Raises:
        DDRSError: no results, damaged ones, or `out` cannot be written.
    """
    results = records / "results"
    if not results.is_dir():
        raise RunError(f"there are no results in {results}: first certify rows with study.py run")
    entries = read_study(plan, results)
    common = read(plan / "study.toml")
    pairs = common["differences"]["pairs"]
    parts = ["# CIFAR-10: the tables", coverage(entries, results)]
    pictures = {}
    for norm, title in NORMS.items():
        some = [entry for entry in entries if entry.norm == norm]
        if not some:
            continue
        parts += [f"## {title}", "### All rows", all_rows(some)]
        parts += ["### One sigma and a sigma for each input"]
        parts += [side_by_side(some, 0.5), side_by_side(some, None)]
        parts += ["### Deployable", deployable(some, norm)]
        if any(entry.confirm for entry in some):
            parts += ["### Confirmation", confirmation(some)]
        parts += ["### Differences", differences(some, pairs)]
        parts += ["### At the largest sigma", at_the_limit(some)]
        parts += ["### Two-sided bounds", two_sided(some)]
        parts += ["### The paper's envelope", envelope(some, norm), "### Figures"]
        first = headline(some, norm)
        others = draw_all(some, norm, chosen_row(some))
        for name, caption, figure in (*[first] * bool(first), *others):
            if figure is not None:
                pictures[f"{name}-{norm}.png"] = figure
                parts.append(f"![{name}]({name}-{norm}.png)")
            parts.append(caption)
    text, figure = stream_section(records / "stream", common["stream"])
    parts += ["## A stream made hard for the memory", text]
    if figure is not None:
        pictures["stream.png"] = figure
        parts.append("![stream](stream.png)")
    parts += ["## An attack", attack_section(records / "attack")]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write in {out}: {error.strerror}; choose another --out") from error
    for name, figure in pictures.items():
        write_figure(figure, out / name)
    write(out / "tables.md", "\n\n".join(parts) + "\n", "tables")


def coverage(entries: Sequence[Entry], results: Path) -> str:
    """Which results are there, and which are not yet."""
    parts = []
    candidates = [entry for entry in entries if entry.candidate]
    for part, kind, some in (
        ("test", "rows", entries),
        ("validation", "rows to choose from", candidates),
    ):
        waiting = [f"`{entry.name}`" for entry in some if getattr(entry, part) is None]
        text = f"Certified on {part} inputs: {len(some) - len(waiting)} of {len(some)} {kind}."
        parts.append(text + f" Missing: {', '.join(waiting)}." * bool(waiting))
    unknown = sorted({path.name for path in results.iterdir()} - {entry.name for entry in entries})
    parts += [f"Results of no row, not used: {', '.join(unknown)}."] * bool(unknown)
    return "\n\n".join(parts)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "made", metavar="DIR")
    try:
        build(PLAN, RECORDS, parser.parse_args(words).out)
    except DDRSError as error:
        sys.exit(f"error: {error}")
