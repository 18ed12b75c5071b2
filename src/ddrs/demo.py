"""The demonstration: real digits, one classifier, three ways to choose sigma, side by side."""

import os
from dataclasses import dataclass
from pathlib import Path

from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import train_run
from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation.comparison import compare, render
from ddrs.evaluation.curves import certified_accuracy_figure
from ddrs.files import write
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.runs.files import SUMMARY
from ddrs.runs.table import read_runs
from ddrs.sigma.policies import POLICIES
from ddrs.training.config import TrainingConfig

__all__ = ["Demo", "run_demo"]

TABLE_FILE, FIGURE_FILE = "table.md", "certified_accuracy.png"
SIGMA = 0.35
RADII = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Demo:
    """What the demonstration made: a table to print and where the files are."""

    table: str
    table_file: Path
    figure_file: Path


def run_demo(out: str | Path, *, epochs: int = 60, limit: int | None = None) -> Demo:
    """Train on the handwritten digits, certify held-out ones three ways, and compare.

    Args:
        out: directory for the four runs, the table and the figure. Finished runs in it are kept.
        epochs: training epochs.
        limit: how many held-out digits; None for all 360.

    Raises:
        RunError: a table or a figure is there that the demonstration has not made.
        DDRSError: the same call goes on where it stopped.
    """
    if not str(out):
        raise ConfigurationError("the directory of the demonstration is empty: give it a name")
    out = Path(out)
    _check_own(out)
    model = out / "model"
    training = TrainingConfig(sigma=SIGMA, epochs=epochs, seed=0)
    train_run(TrainJob("digits", "digits-cnn", training), model)
    for policy in POLICIES:
        job = CertifyJob(
            "digits", str(model), policy=policy, n=10_000, alpha=0.001, limit=limit, seed=0
        )
        certify_run(job, out / policy)
    runs = read_runs([out / policy for policy in POLICIES])
    table = render(compare(runs, RADII), "markdown")
    certified_accuracy_figure(runs, out / FIGURE_FILE)
    write(out / TABLE_FILE, table + "\n", "table")
    return Demo(table, out / TABLE_FILE, out / FIGURE_FILE)


def _check_own(out: Path) -> None:
    """Refuse a directory with a table or figure that is not of the runs in it.

    They are made when all runs are finished, so before that they are somebody else's.
    """
    if all((out / run / SUMMARY).is_file() for run in ("model", *POLICIES)):
        return
    for file in (out / TABLE_FILE, out / FIGURE_FILE):
        if os.path.lexists(file):
            raise RunError(
                f"{file} was not made by the demonstration, or its runs are gone: choose another "
                "--out, or move it away"
            )
