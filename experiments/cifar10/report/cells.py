"""What stands in the tables of the report: figures, their intervals, and what they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from ddrs.display.rounding import radius_key, rounded_down
from ddrs.evaluation import accuracy_interval
from experiments.cifar10.report.stored import Certified, Input, shared

MADE_BY = "`python -m experiments.cifar10.report`"

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
LEVEL, RESAMPLES, SEED = 0.95, 10_000, 0
PERCENT = f"{LEVEL:.0%}".replace("%", " %")
NONE = "-"
OTHERWISE = " †"


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def at(radius: float | None) -> str:
    """The name of a figure: a radius, or None for the ACR."""
    return "ACR" if radius is None else f"r={radius_key(radius)}"


def acr_text(acr: float | None, certified: Sequence[Certified]) -> str:
    """An ACR, rounded down: a lower bound where votes stopped once a grid of radii was settled."""
    if acr is None:
        return NONE
    return "at least " * any(one.grid is not None for one in certified) + rounded_down(acr, 3)


def figure_text(mean: float, radius: float | None, certified: Sequence[Certified]) -> str:
    """A certified accuracy at a radius, or for None the ACR."""
    return acr_text(mean, certified) if radius is None else number(mean)


def paired(
    ours: Certified, theirs: Certified, radius: float | None, inputs: Sequence[Input]
) -> list[str]:
    """How many inputs, their figure, ours, the difference and its interval."""
    of_ours, of_theirs = (one.scores(radius, inputs) for one in (ours, theirs))
    if of_ours is None or of_theirs is None:
        return [str(len(inputs)), *[NONE] * 4]
    means = [
        figure_text(scores.mean(), radius, [one])
        for scores, one in ((of_theirs, theirs), (of_ours, ours))
    ]
    spread = of_ours - of_theirs
    mark = OTHERWISE * made_otherwise(ours, theirs)
    return [str(len(inputs)), *means, f"{spread.mean():+.3f}{mark}", interval(spread)]


def difference(first: Certified, second: Certified, radius: float | None) -> str:
    """The first less the second on the inputs that both have, its interval, and a mark."""
    inputs = shared([first, second])
    ours, theirs = first.scores(radius, inputs), second.scores(radius, inputs)
    if ours is None or theirs is None:
        return NONE
    mark = OTHERWISE * made_otherwise(first, second)
    return f"{(ours - theirs).mean():+.3f} ({interval(ours - theirs)}){mark}"


def made_otherwise(first: Certified, second: Certified) -> bool:
    """Whether two rows differ in the training of a model that both use, or in precision."""
    both = first.digests.keys() & second.digests.keys()
    retrained = any(first.digests[model] != second.digests[model] for model in both)
    return retrained or first.config.precision != second.config.precision


def otherwise(lines: Iterable[Sequence[str]]) -> list[str]:
    """What the mark means, if it is there."""
    text = (
        f"{OTHERWISE.strip()} part of the difference may be that a model which both rows use was "
        "trained twice, or that only one of the rows is in bf16."
    )
    return [text] * any(OTHERWISE in cell for line in lines for cell in line)


def best_by_input(
    certified: Sequence[Certified], radius: float | None, inputs: Sequence[Input]
) -> str:
    """What the best of these for each of some inputs reaches at a radius, of the ACR for None."""
    scores = [some for one in certified if (some := one.scores(radius, inputs)) is not None]
    if not scores:
        return NONE
    return figure_text(np.max(scores, axis=0).mean(), radius, certified)


def interval(differences: npt.NDArray[Any]) -> str:
    """Percentile bootstrap of the mean of paired differences, `[inputs]`; inputs are resampled.

    None of fewer than two inputs, or where nothing differs, of which resampling tells nothing.
    """
    if len(differences) < 2 or not differences.any():
        return NONE
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=1000,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return f"{found.low:+.3f} to {found.high:+.3f}"


def half_width(accuracies: Iterable[float | None], inputs: int) -> float:
    """How far the intervals of these accuracies reach to a side at most."""
    widths = [0.0]
    for accuracy in accuracies:
        if accuracy is not None:
            low, high = accuracy_interval(round(accuracy * inputs), inputs, LEVEL)
            widths += [accuracy - low, high - accuracy]
    return max(widths)


def about(certified: Sequence[Certified]) -> str:
    """What these were certified on, and how."""

    def distinct(value: Callable[[Certified], object]) -> str:
        return " / ".join(dict.fromkeys(str(value(one)) for one in certified))

    most = "at most " * any(one.grid is not None for one in certified)
    return (
        f"{distinct(lambda one: one.config.data)}, {distinct(lambda one: len(one.right))} "
        f"inputs, n {most or '= '}{distinct(lambda one: one.config.n)}, "
        f"n0 = {distinct(lambda one: one.config.n0)}, "
        f"alpha = {distinct(lambda one: one.config.alpha)}."
    )


def sources(certified: Sequence[Certified]) -> str:
    """The same with the models, and how to make it again."""
    models = ", ".join(dict.fromkeys(name for one in certified for name in one.models))
    return f"Test: {about(certified)} Models: {models}. Made again by {MADE_BY}."
