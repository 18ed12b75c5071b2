"""How much the answers of a run depend on the order in which its inputs came.

The votes of an input do not depend on the inputs before it, only what a memory makes of them does.
So the run's own certificates can be resolved again in other orders, without a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddrs.data.dataset import Dataset
from ddrs.display.progress import ProgressBar
from ddrs.errors import ConfigurationError
from ddrs.evaluation.metrics import average_certified_radius, certified_accuracy
from ddrs.evaluation.summary import scored
from ddrs.finished.reading import read_finished
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.noise.distributions import Norm
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.rows import CertifiedRow, labelled

__all__ = ["OrderStudy", "Range", "reorder"]

INPUTS_PER_BATCH = 256  # inputs that are held at once


@dataclass(frozen=True)
class Range:
    """One figure, as the run has it and over the orders."""

    run: float
    lowest: float
    median: float
    highest: float


@dataclass(frozen=True)
class OrderStudy:
    """What became of a run's certificates in other orders.

    Attributes:
        orders: how many there were.
        seed: key of the orders.
        inputs: inputs of the run.
        remembered: whether the run had a memory. Where not, this is what one would have done.
        labelled: whether the inputs have labels; where not, the figures count every answer.
        certified_accuracy: by radius; without labels, the share answered.
        acr: the average certified radius; without labels, the mean radius.
        changed_class: inputs whose class was not that of the run in at least one order.
        changed_outcome: likewise for the outcome.
        changed_radius: likewise for the radius.
    """

    orders: int
    seed: int
    inputs: int
    remembered: bool
    labelled: bool
    certified_accuracy: dict[float, Range]
    acr: Range
    changed_class: int
    changed_outcome: int
    changed_radius: int


def reorder(path: str | Path, orders: int, *, seed: int = 0, quiet: bool = False) -> OrderStudy:
    """Resolve the certificates of a finished run again, in shuffled orders.

    Each order has a fresh memory of this process, which holds all inputs of the run.

    Args:
        path: the run directory.
        orders: how many.
        seed: key of the orders.
        quiet: show no progress bar.

    Raises:
        ConfigurationError: less than one order, or a negative seed.
        RunError: not a finished run, or its data is not there or changed.
    """
    if orders < 1 or seed < 0:
        raise ConfigurationError(
            f"give at least one order and a seed of at least 0, not {orders} and {seed}"
        )
    run = read_finished(Path(path))
    rows, norm = run.rows, run.config.smoothing_noise.norm
    dataset = run.load_data()
    answers = []
    with ProgressBar("resolve again", orders * len(rows), "inputs", quiet=quiet) as bar:
        for number in range(orders):
            order = np.random.default_rng([seed, number]).permutation(len(rows)).tolist()
            answers.append(_resolve(rows, dataset, order, norm, bar))
    given = [(row.prediction, row.certificate.outcome, row.radius) for row in rows]
    made = [[(a.prediction, a.outcome, a.radius) for a in order] for order in answers]
    changed = [
        sum(any(order[i][part] != given[i][part] for order in made) for i in range(len(rows)))
        for part in range(3)
    ]
    orders_scored = [_scored(rows, order) for order in answers]
    radii = run.config.summary_settings["radii"]
    accuracy = np.array([certified_accuracy(order, radii) for order in orders_scored])
    acr = np.array([average_certified_radius(order) for order in orders_scored])
    own = certified_accuracy(scored(rows), radii)
    return OrderStudy(
        orders=orders,
        seed=seed,
        inputs=len(rows),
        remembered=run.config.memory != "none",
        labelled=labelled(rows),
        certified_accuracy={r: _range(own[k], accuracy[:, k]) for k, r in enumerate(radii)},
        acr=_range(average_certified_radius(scored(rows)), acr),
        changed_class=changed[0],
        changed_outcome=changed[1],
        changed_radius=changed[2],
    )


def _resolve(
    rows: Sequence[CertifiedRow],
    dataset: Dataset,
    order: Sequence[int],
    norm: Norm,
    bar: ProgressBar,
) -> list[Resolution]:
    """The answers to `rows`, in their own order, when they come in another one."""
    answers: dict[int, Resolution] = {}
    with Memory("memory://", norm) as memory:
        for low in range(0, len(order), INPUTS_PER_BATCH):
            some = order[low : low + INPUTS_PER_BATCH]
            resolved = memory.resolve_many(
                np.stack([dataset[rows[i].index][0].numpy() for i in some]),
                [rows[i].certificate.own_prediction for i in some],
                [rows[i].certificate.own_radius for i in some],
            )
            answers.update(zip(some, resolved, strict=True))
            bar.advance(len(some))
    return [answers[i] for i in range(len(rows))]


def _scored(
    rows: Sequence[CertifiedRow], answers: Sequence[Resolution]
) -> list[dict[str, float | bool]]:
    known = labelled(rows)
    return [
        {
            "radius": answer.radius,
            "correct": answer.prediction == row.label if known else answer.prediction != ABSTAIN,
        }
        for row, answer in zip(rows, answers, strict=True)
    ]


def _range(run: float, values: npt.NDArray[np.float64]) -> Range:
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0]).tolist()
    return Range(float(run), low, middle, high)
