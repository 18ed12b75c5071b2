"""The demonstration: real digits, one classifier, three ways to choose sigma, side by side."""

from dataclasses import dataclass
from pathlib import Path

from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import train_run
from ddrs.evaluation.comparison import compare, render
from ddrs.evaluation.curves import certified_accuracy_figure
from ddrs.files import write
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.runs.table import read_runs
from ddrs.sigma.policies import POLICIES
from ddrs.training.config import TrainingConfig

__all__ = ["Demo", "run_demo"]

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
        DDRSError: the same call goes on where it stopped.
    """
    out = Path(out)
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
    figure = out / "certified_accuracy.png"
    certified_accuracy_figure(runs, figure)
    write(out / "table.md", table + "\n", "table")
    return Demo(table, out / "table.md", figure)
