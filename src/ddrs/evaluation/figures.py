"""Certified accuracy over the radius, beside the sigmas that were chosen, as one picture."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddrs.errors import InputError, RunError
from ddrs.evaluation.metrics import accuracy_intervals, average_certified_radius, certified_hits
from ddrs.evaluation.rounding import rounded_down
from ddrs.evaluation.rows import Row

__all__ = ["Curve", "certified_accuracy_figure", "draw_certified_accuracy"]

Curve = tuple[str, Sequence[Row], Sequence[float] | None]
"""A name, the evaluated inputs, and their sigmas where they are known."""

# Okabe and Ito's colours, told apart with every common colour blindness; without the yellow, which
# is too pale for a line on white. Line styles go on when the colours have been used up.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")
DPI = 120
INK = "#333333"
GOLDEN = 0.618033988749895


def certified_accuracy_figure(
    runs: Sequence[Curve], path: str | Path, *, norm: str | None = "l2"
) -> None:
    """Write the figure as a PNG; a figure already there is replaced only by a complete one.

    Args:
        runs: name, rows and sigmas of each run; sigmas are None for a log.
        path: the PNG.
        norm: norm of the radii, `"l2"` or `"l1"`, for the axis label; None where it is mixed.

    Raises:
        InputError: no runs, a run without rows, or sigmas that are not one a row.
        RunError: the file cannot be written.
    """
    figure = draw_certified_accuracy(runs, norm=norm)
    path = Path(path)
    partial = None
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, format="png", dpi=DPI)
        Path(partial).chmod(0o644)  # mkstemp lets nobody else read; a report is meant to be read
        os.replace(partial, path)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise RunError(f"cannot write the figure {path}: {error.strerror}") from error


def draw_certified_accuracy(runs: Sequence[Curve], *, norm: str | None = "l2") -> Figure:
    """The figure itself, not yet written; arguments and errors as in `certified_accuracy_figure`.

    Left, certified accuracy (Cohen et al. 2019) with its pointwise 95 % Clopper-Pearson band.
    Right, one strip a run: a dot for each input's sigma, and a box over the middle half.
    """
    if not runs:
        raise InputError("there is nothing to draw: give at least one run or log")
    for name, rows, sigmas in runs:
        if sigmas is not None and len(sigmas) != len(rows):
            raise InputError(f"run {name} has {len(sigmas)} sigmas for {len(rows)} inputs")
    height = max(4.0, 1.0 + 0.5 * len(runs))
    figure = Figure(figsize=(10.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    for position, (name, rows, _) in enumerate(runs):
        _draw_curve(left, position, name, rows)
    left.set(
        xlabel=" ".join([*([norm] if norm else []), "radius (pixel values in [0, 1])"]),
        ylabel="certified accuracy",
        ylim=(0, 1),
    )
    left.set_xlim(left=0)
    left.legend(frameon=False, fontsize=9)
    _draw_sigmas(right, runs)
    return figure


def _draw_curve(axes: Axes, position: int, name: str, rows: Sequence[Row]) -> None:
    radii = np.unique([0.0, *(row.radius for row in rows if row.correct)])
    hits, inputs = certified_hits(rows, radii)
    low, high = accuracy_intervals(hits, inputs)
    # A radius that is reached still counts at itself: steps go down just after it ("pre"), and
    # past the largest radius nothing is certified.
    x = np.append(radii, radii[-1])
    label = f"{name} (ACR {rounded_down(average_certified_radius(rows), 3)})"
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


def _draw_sigmas(axes: Axes, runs: Sequence[Curve]) -> None:
    for position, (name, _, sigmas) in enumerate(runs):
        note = "" if sigmas is not None else " (sigma not recorded)"
        axes.annotate(
            name + note, (0.02, position - 0.36), xycoords=("axes fraction", "data"), color=INK
        )
        if sigmas is not None:
            _draw_strip(axes, position, np.asarray(sigmas, dtype=np.float64))
    axes.set(xlabel="sigma (pixel values in [0, 1])", yticks=[])
    axes.set_ylim(len(runs) - 0.4, -0.7)
    axes.spines["left"].set_visible(False)


def _draw_strip(
    axes: Axes, position: int, sigmas: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    colour = COLOURS[position % len(COLOURS)]
    if sigmas.min() == sigmas.max():
        axes.plot([sigmas[0]] * 2, [position - 0.25, position + 0.25], color=colour, linewidth=3)
        return
    # Dots are spread by the golden ratio: even, and the same in every drawing.
    jitter = (np.arange(len(sigmas)) * GOLDEN % 1 - 0.5) * 0.44
    axes.scatter(sigmas, position + jitter, s=5, color=colour, alpha=0.35, linewidths=0)
    axes.boxplot(
        sigmas,
        positions=[position],
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        manage_ticks=False,
        boxprops={"color": INK},
        whiskerprops={"color": INK},
        capprops={"color": INK},
        medianprops={"color": INK, "linewidth": 2},
    )
