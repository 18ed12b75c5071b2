"""Certified accuracy over the radius, beside the sigmas that were chosen, as one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddrs.display.foreign import visible
from ddrs.display.plots import COLOURS, INK, STYLES, plain, write_figure
from ddrs.display.rounding import rounded_down
from ddrs.errors import InputError
from ddrs.evaluation.metrics import (
    Float64s,
    accuracy_intervals,
    average_certified_radius,
    certified_hits,
)
from ddrs.evaluation.summary import scored
from ddrs.runs.rows import labelled
from ddrs.runs.table import EvaluatedRun

if TYPE_CHECKING:  # a second of every start: imported where it is used
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["certified_accuracy_figure", "draw_certified_accuracy"]

GOLDEN_RATIO = 0.618033988749895
MOST_DRAWN = 40  # runs; more could not be told apart, and a picture has a largest height
LONGEST = 200  # characters of a name
LONGEST_NAME = 30  # characters of a name beside its sigmas; the legend has all of it


def certified_accuracy_figure(
    runs: Sequence[EvaluatedRun], path: str | Path, *, norm: str | None = "l2"
) -> None:
    """Write the figure as a PNG; a figure already there is replaced only by a complete one.

    Args:
        runs: what `read_runs` returned; most logs have no sigmas to draw.
        path: the PNG.
        norm: norm of the radii, `"l2"` or `"l1"`, for the axis label; None where it is mixed.

    Raises:
        InputError: no runs, or a run without rows.
        RunError: the file cannot be written.
    """
    write_figure(draw_certified_accuracy(runs, norm=norm), path)


def draw_certified_accuracy(runs: Sequence[EvaluatedRun], *, norm: str | None = "l2") -> "Figure":
    """The figure itself, not yet written; arguments and errors as in `certified_accuracy_figure`.

    Left, certified accuracy (Cohen et al. 2019) with its pointwise 95 % Clopper-Pearson band; of
    inputs without labels, the share that is answered, whether rightly or not.
    Right, one strip per run: a dot for each input's sigma, and a box over the middle half. Of more
    than `MOST_DRAWN` runs the first are drawn, and the title says so.
    """
    from matplotlib.figure import Figure

    if not runs:
        raise InputError("there is nothing to draw: give at least one run or log")
    given, runs = len(runs), runs[:MOST_DRAWN]
    height = max(4.0, 1.0 + 0.5 * len(runs))
    figure = Figure(figsize=(10.5, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for axes in (left, right):
        plain(axes)
    for position, run in enumerate(runs):
        _draw_curve(left, position, run)
    kinds = {labelled(run.rows) for run in runs}
    title = "certified accuracy" if True in kinds else "answers to inputs without labels"
    counted = {True: "correct", False: "answered"}
    what = " or, without labels, ".join(counted[kind] for kind in sorted(kinds, reverse=True))
    left.set(
        title=f"{title}, with 95 % intervals"
        + f"\n(the first {len(runs)} of {given})" * (given > len(runs)),
        xlabel=f"{norm or ''} radius (pixel values in [0, 1])".lstrip(),
        ylabel=f"fraction of inputs, {what} within the radius",
        ylim=(0, 1),
    )
    left.set_xlim(left=0)
    for text in left.legend(framealpha=0.85, edgecolor="none", fontsize=9).get_texts():
        text.set_parse_math(False)  # a name may hold dollar signs
    _draw_sigmas(right, runs)
    return figure


def _draw_curve(axes: "Axes", position: int, run: EvaluatedRun) -> None:
    rows = scored(run.rows)
    radii = np.unique([0.0, *(row.radius for row in run.rows if row.correct is not False)])
    hits, inputs = certified_hits(rows, radii)
    low, high = accuracy_intervals(hits, inputs)
    # A radius that is reached still counts at itself: steps go down just after it ("pre"), and
    # past the largest radius nothing is certified.
    x = np.append(radii, radii[-1])
    mean = "ACR" if labelled(run.rows) else "no labels, mean radius"
    acr = rounded_down(average_certified_radius(rows), 3)
    label = f"{mean} {acr}  {visible(run.name, LONGEST)}"
    colour = COLOURS[position % len(COLOURS)]
    style = STYLES[position // len(COLOURS) % len(STYLES)]
    axes.step(
        x,
        np.append(hits / inputs, 0.0),
        where="pre",
        color=colour,
        linestyle=style,
        linewidth=1.8,
        label=label,
    )
    axes.fill_between(radii, low, high, step="pre", color=colour, alpha=0.13, linewidth=0)


def _draw_sigmas(axes: "Axes", runs: Sequence[EvaluatedRun]) -> None:
    largest = 0.0
    for position, run in enumerate(runs):
        name, sigmas = visible(run.name, LONGEST), run.sigmas
        short = name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]
        text = f"{short}: sigma not recorded"
        if sigmas is not None:
            values = np.asarray(sigmas, dtype=np.float64)
            largest = max(largest, values.max())
            text = f"{short}: {_draw_strip(axes, position, values)}"
        place = (0.015, position - 0.34)
        axes.annotate(
            text,
            place,
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=9,
            parse_math=False,
        )
    axes.set(
        title="sigma of each input",
        xlabel="sigma (pixel values in [0, 1])",
        xlim=(0, 1.06 * largest or 1),
        ylim=(len(runs) - 0.5, -0.75),
        yticks=[],
    )
    axes.spines["left"].set_visible(False)


def _draw_strip(axes: "Axes", position: int, sigmas: Float64s) -> str:
    """Draw one run's sigmas at height `position`, and say them in words."""
    from matplotlib.patches import Rectangle

    colour = COLOURS[position % len(COLOURS)]
    low, median, high = np.quantile(sigmas, (0, 0.5, 1))
    if low == high:
        axes.plot([low, low], [position - 0.24, position + 0.24], color=colour, linewidth=3)
        return f"fixed at {median:.3g}"
    # Dots are spread by the golden ratio: even, and the same in every drawing.
    jitter = (np.arange(len(sigmas)) * GOLDEN_RATIO % 1 - 0.5) * 0.44
    opacity = float(np.clip(150 / len(sigmas), 0.05, 0.6))
    axes.scatter(sigmas, position + jitter, s=7, color=colour, alpha=opacity, linewidths=0)
    first, third = np.quantile(sigmas, (0.25, 0.75))
    box = Rectangle((first, position - 0.24), third - first, 0.48, fill=False, edgecolor=INK)
    axes.add_patch(box)
    axes.plot([median, median], [position - 0.24, position + 0.24], color=INK, linewidth=2.2)
    return f"median {median:.3g}, {low:.3g} to {high:.3g}"
