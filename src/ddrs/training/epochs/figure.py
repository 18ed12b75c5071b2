"""A training as a picture: loss, accuracy and the sigma of each example, epoch by epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ddrs.display.plots import COLOURS, INK, plain
from ddrs.training.metrics import EpochMetrics, best_epoch

if TYPE_CHECKING:  # a second of every start, for a few calls: imported where it draws
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_training"]

TRAINING_COLOUR, VALIDATION_COLOUR = COLOURS[:2]
SHARE_COLOURS = ("#DCEAF4", "#0072B2", "#00263D")  # of a share of the examples, from few to all
MOST_DOTTED = 30  # epochs up to which every value has a dot


def draw_training(
    history: Sequence[EpochMetrics], sigma_bounds: tuple[float, float] | None
) -> "Figure":
    """The figure itself, not yet written; in it epochs count from 1.

    Args:
        history: at least one epoch, in order.
        sigma_bounds: the least and the largest sigma that an example may have, for a panel of where
            they are; None where all have the same.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    varied = sigma_bounds is not None and sigma_bounds[0] < sigma_bounds[1]
    figure = Figure(figsize=(15.5 if varied else 10.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 3 if varied else 2)
    for axes in panels:
        plain(axes)
        axes.set_xlabel("epoch")
        axes.set_xlim(history[0].epoch + 0.5, history[-1].epoch + 1.5)
        axes.xaxis.set_major_locator(
            MaxNLocator(9, steps=(1, 2, 5, 10), integer=True, min_n_ticks=1)
        )
    _draw_loss(panels[0], history)
    _draw_accuracy(panels[1], history)
    if sigma_bounds is not None and varied:
        _draw_sigmas(panels[2], history, sigma_bounds)
    return figure


def _draw_loss(axes: "Axes", history: Sequence[EpochMetrics]) -> None:
    _draw_line(axes, history, "loss", TRAINING_COLOUR, "training")
    axes.set(title="training loss", ylabel="mean over the training examples")
    axes.set_ylim(bottom=0)


def _draw_accuracy(axes: "Axes", history: Sequence[EpochMetrics]) -> None:
    _draw_line(axes, history, "noisy_accuracy", TRAINING_COLOUR, "training")
    validated = {
        metrics.epoch: metrics.validation_accuracy
        for metrics in history
        if metrics.validation_accuracy is not None
    }
    if validated:
        _draw_line(axes, history, "validation_accuracy", VALIDATION_COLOUR, "validation")
        best = best_epoch(history)
        axes.plot(
            [best + 1],
            [validated[best]],
            marker="*",
            markersize=13,
            color=VALIDATION_COLOUR,
            markeredgecolor=INK,
            linestyle="none",
            label=f"best: {validated[best]:.3f} in epoch {best + 1}",
            clip_on=False,
            zorder=4,
        )
    axes.set(
        title="accuracy under noise",
        ylabel="fraction of examples classified correctly",
        ylim=(0, 1),
    )
    _legend_below(axes)


def _draw_sigmas(
    axes: "Axes", history: Sequence[EpochMetrics], bounds: tuple[float, float]
) -> None:
    """A column per epoch with the share of the examples in each part of the range, and lines."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    first, last = history[0].epoch, history[-1].epoch
    counts = np.array([metrics.sigma_counts for metrics in history], dtype=np.float64).T
    shares = np.zeros((len(counts), last - first + 1))
    shares[:, [metrics.epoch - first for metrics in history]] = counts / counts.sum(axis=0)
    mesh = axes.pcolormesh(
        np.arange(first, last + 2) + 0.5,
        np.linspace(*bounds, len(counts) + 1),
        np.ma.masked_equal(shares, 0),  # where nobody is, the panel stays white
        cmap=LinearSegmentedColormap.from_list("shares", SHARE_COLOURS),
        norm=PowerNorm(0.5, vmin=0, vmax=1),  # a few examples far out are seen too
    )
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.set_label("fraction of the training examples")
    _draw_line(axes, history, "sigma_min", INK, "least and largest", style="--")
    _draw_line(axes, history, "sigma_max", INK, None, style="--")
    _draw_line(axes, history, "sigma_median", VALIDATION_COLOUR, "median")
    margin = 0.02 * (bounds[1] - bounds[0])
    axes.grid(visible=False)
    axes.set(
        title="sigma of each training example",
        ylabel="sigma (pixel values in [0, 1])",
        ylim=(bounds[0] - margin, bounds[1] + margin),
    )
    _legend_below(axes)


def _draw_line(
    axes: "Axes",
    history: Sequence[EpochMetrics],
    name: str,
    colour: str,
    label: str | None,
    style: str = "-",
) -> None:
    axes.plot(
        [metrics.epoch + 1 for metrics in history],
        [getattr(metrics, name) for metrics in history],
        color=colour,
        linestyle=style,
        linewidth=1.8,
        marker="o" if len(history) <= MOST_DOTTED else None,
        markersize=4,
        label=label,
    )


def _legend_below(axes: "Axes") -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False, fontsize=9)
