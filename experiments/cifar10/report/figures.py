"""The figures of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddrs import ABSTAIN
from ddrs.display.plots import COLOURS, INK, plain
from ddrs.errors import DDRSError
from ddrs.evaluation import accuracy_interval
from ddrs.finished.orders import reorder
from ddrs.finished.reading import read_finished
from ddrs.runs.rows import CertifiedRow
from experiments.cifar10.report.stored import (
    KINDS,
    METHODS,
    SEVERAL,
    Certified,
    Entry,
    Input,
    shared,
)

CLASSES = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = "pixel values in [0, 1]"

RADII = (0.0, 0.25, 0.5, 0.75, 1.0)  # lines against K
SHOWN = 8  # images of a line of examples
WRONG = COLOURS[1]
ORDERS, SEED = 10, 0

Picture = tuple[str, str, Figure | None]
"""A name; a caption, or why there is no figure; the figure."""


def draw_all(entries: Sequence[Entry], norm: str, chosen: Entry | None) -> Iterator[Picture]:
    """All figures of the rows of one norm; examples are of the chosen row, if there is one."""
    entries = [entry for entry in entries if entry.test is not None]
    adaptive = [entry for entry in entries if entry.kind != "fixed"]
    if entries:
        yield draw_curves(entries, norm)
    yield draw_steps(entries)
    yield draw_gains(adaptive, [entry for entry in entries if entry.kind == "fixed"], norm)
    yield draw_examples(chosen or next(iter(adaptive), None))
    yield draw_orders(adaptive)


def draw_headline(
    rows: Mapping[str, Mapping[float, Entry | None]], chosen: Entry, norm: str
) -> Picture:
    """Certified accuracies of rows chosen on validation inputs, and the inputs of one of them.

    Args:
        rows: label -> the row that was chosen at each radius; None where none could be.
        chosen: the row whose inputs are shown.
        norm: of the radii.
    """
    tests = [entry.test for found in rows.values() for entry in found.values() if entry]
    inputs = shared(tests)
    figure = Figure(figsize=(11.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (label, found), colour in zip(rows.items(), COLOURS[2::-1], strict=False):
        means = {
            radius: entry.test.mean(radius, inputs) for radius, entry in found.items() if entry
        }
        points = {radius: mean for radius, mean in means.items() if mean is not None}
        ends = [
            accuracy_interval(round(mean * len(inputs)), len(inputs)) for mean in points.values()
        ]
        left.plot([*points], [*points.values()], ".-", color=colour, label=label)
        left.fill_between([*points], *np.array(ends).T, color=colour, alpha=0.12, linewidth=0)
    left.set(xlabel=f"{norm} radius ({PIXELS})", ylabel="certified accuracy", ylim=(0, 1))
    left.set_xlim(left=0)
    left.legend(framealpha=0.85, edgecolor="none", fontsize=8, loc="upper right")
    sigmas = np.array([chosen.test.sigma[one] for one in inputs])
    radii = np.array([chosen.test.right[one] for one in inputs])
    right.scatter(
        sigmas[radii > 0], radii[radii > 0], s=14, color=COLOURS[2], alpha=0.5, linewidths=0
    )
    right.set(xlabel=f"sigma chosen for the input ({PIXELS})", ylabel=f"certified {norm} radius")
    right.set_title(f"{(radii > 0).sum()} of {len(inputs)} inputs, answered rightly", fontsize=10)
    for axes in (left, right):
        plain(axes)
    caption = (
        f"Left: certified accuracy on {len(inputs)} test inputs with 95 % Clopper-Pearson "
        "intervals; the rows with a sigma for each input were chosen on validation inputs, the "
        "fixed sigma anew at each radius on these. "
        f"Dots are the radii that were asked. Right: the inputs that {chosen.title} answers "
        "rightly, each with its sigma and its radius. Radii gather a little above those that were "
        "asked, where votes stop, and sigmas at the largest that the policy may choose."
    )
    return "headline", caption, figure


def panels(count: int, across: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, plain and with common axes."""
    columns = min(across, count)
    rows = ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for axes in grid[:count]:
        plain(axes)
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def draw_curves(entries: Sequence[Entry], norm: str) -> Picture:
    """A panel for each method: the best row of each kind at each radius, and the rows, pale."""
    inputs = shared([entry.test for entry in entries])
    methods = [method for method in METHODS if any(e.method == method for e in entries)]
    fixed = [e.test for e in entries if e.kind == "fixed" and e.method != SEVERAL]
    figure, grid = panels(len(methods), 3, 5.2, 4.4)
    for axes, method in zip(grid, methods, strict=True):
        for kind, colour in zip(KINDS, COLOURS, strict=False):
            some = [e.test for e in entries if (e.method, e.kind) == (method, kind)]
            if not some:
                continue
            radii, *curves = curves_of(some, inputs)
            for curve in curves:
                axes.plot(radii, curve, color=colour, linewidth=0.8, alpha=0.35)
            label = f"{kind}, best of {len(some)}" if len(some) > 1 else f"{kind}, 1 row"
            best = np.max(curves, axis=0)
            axes.plot(radii, best, ".-", color=colour, linewidth=1.8, markersize=5, label=label)
        if fixed and len(methods) > 1:
            radii, *curves = curves_of(fixed, inputs)
            label = f"fixed, best of all {len(fixed)}"
            axes.plot(radii, np.max(curves, axis=0), "--", color=INK, linewidth=0.8, label=label)
        axes.set(title=METHODS[method], xlabel=f"{norm} radius ({PIXELS})", ylim=(0, 1))
        axes.set_xlim(left=0)
        axes.legend(framealpha=0.85, edgecolor="none", fontsize=9)
    grid[0].set_ylabel("certified accuracy")
    caption = (
        f"Certified accuracy on {len(inputs)} test inputs, a panel for each method of training. "
        "Pale: the rows. Strong: the best row of a kind at each radius, chosen on these inputs as "
        "in the paper's Figures 3 to 5; dashed: that of a fixed sigma with any training. Dots are "
        "the radii that were asked; lines only join them."
    )
    return "curves", caption, figure


def curves_of(certified: Sequence[Certified], inputs: Sequence[Input]) -> list[npt.NDArray[Any]]:
    """Radii that all of these were asked at, and for each the certified accuracy there."""
    grids = [{*one.grid} for one in certified if one.grid is not None]
    largest = max(max(one.right.values()) for one in certified)
    radii = sorted(set.intersection(*grids)) if grids else np.arange(0, largest + 0.05, 0.05)
    curves = [[one.mean(float(r), inputs) for r in radii] for one in certified]
    # One zero ends a curve; more would only lie on the axis.
    end = next((k + 1 for k in range(len(radii)) if not any(c[k] for c in curves)), len(radii))
    return [np.array(numbers[:end], dtype=np.float64) for numbers in (radii, *curves)]


def draw_steps(entries: Sequence[Entry]) -> Picture:
    """Certified accuracy against K, for rows that differ in nothing else."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if "steps" in entry.options:
            rest = {key: value for key, value in entry.options.items() if key != "steps"}
            key = f"{entry.test.digests} {sorted(rest.items())}"
            groups.setdefault(key, []).append(entry)
    found = [sorted(some, key=lambda e: e.options["steps"]) for some in groups.values()]
    found = [some for some in found if len(some) > 1]
    if not found:
        return "steps", "No two rows that differ only in K are certified yet.", None
    figure, grid = panels(len(found), 3, 5.8, 4.4)
    for axes, some in zip(grid, found, strict=True):
        fixed = [e for e in entries if e.kind == "fixed" and e.test.digests == some[0].test.digests]
        steps = [0] * len(fixed) + [entry.options["steps"] for entry in some]
        rows = [entry.test for entry in (*fixed, *some)]
        inputs = shared(rows)
        for radius, colour in zip(RADII, COLOURS, strict=False):
            asked = [(k, one.mean(radius, inputs)) for k, one in zip(steps, rows, strict=True)]
            points = [(k, accuracy) for k, accuracy in asked if accuracy is not None]
            draw_points(axes, points, len(inputs), color=colour, label=f"{radius:g}")
        axes.set(title=f"{some[0].model}, {len(inputs)} inputs", ylim=(0, 1))
        axes.set(xlabel="ascent steps K of Algorithm 1")
        axes.legend(title="at radius", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    grid[0].set_ylabel("certified accuracy")
    caption = (
        "Certified accuracy on test inputs against K (the paper's Figure 7), with 95 % "
        "Clopper-Pearson intervals; K = 0 is the fixed sigma of the same model."
    )
    return "steps", caption, figure


def draw_points(axes: Axes, points: list[tuple[int, float]], inputs: int, **style: str) -> None:
    """Accuracies with their Clopper-Pearson intervals."""
    if not points:
        return
    x, y = np.array(points).T
    ends = np.array([accuracy_interval(round(accuracy * inputs), inputs) for accuracy in y]).T
    axes.errorbar(x, y, np.abs(ends - y), fmt=".-", elinewidth=0.8, capsize=2, **style)


def draw_gains(adaptive: Sequence[Entry], fixed: Sequence[Entry], norm: str) -> Picture:
    """For each input its sigma, and the radius gained over the fixed sigma of the same model."""
    pairs = [
        (entry, one)
        for entry in adaptive
        for one in fixed
        if entry.test.digests == one.test.digests
    ]
    if not pairs:
        return "gains", "No row has a row of fixed sigma on the same model yet.", None
    figure, grid = panels(len(pairs), 3, 4.6, 3.6)
    for axes, (entry, other) in zip(grid, pairs, strict=True):
        inputs = shared([entry.test, other.test])
        gains = entry.test.scores(None, inputs) - other.test.scores(None, inputs)
        sigmas = [entry.test.sigma[one] for one in inputs]
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axvline(other.test.sigma[inputs[0]], color=INK, linewidth=0.8, linestyle="--")
        axes.scatter(sigmas, gains, s=9, color=COLOURS[0], alpha=0.5, linewidths=0)
        counts = f"{(gains > 0).sum()} gain, {(gains < 0).sum()} lose, mean {gains.mean():+.3f}"
        axes.set_title(f"{entry.title}\n{counts}", fontsize=10)
    figure.supxlabel(f"sigma chosen for the input ({PIXELS})")
    figure.supylabel(f"{norm} radius gained ({PIXELS})")
    caption = (
        "Each test input: the sigma that was chosen for it, and the certified radius that it "
        "gained over the fixed sigma of the same model (dashed). A wrong answer counts as radius "
        "0. Where votes stopped once a grid of radii was settled, a gain is the difference of two "
        "lower bounds."
    )
    return "gains", caption, figure


def draw_examples(entry: Entry | None) -> Picture:
    """Test images with the smallest, middle and largest sigmas of a row, and its wrong answers."""
    if entry is None:
        return "examples", "No row with a sigma for each input is certified yet.", None
    try:
        run = read_finished(entry.test.path)
        dataset = run.load_data()
    except DDRSError as error:
        return "examples", f"No pictures of examples: {error}", None
    rows = sorted(run.rows, key=lambda row: (row.sigma, row.index))
    shown = min(SHOWN, len(rows))
    middle = (len(rows) - shown) // 2
    names = ("smallest", "median", "largest")
    figure = Figure(figsize=(1.35 * shown, 5.4), layout="constrained")
    grid = figure.subplots(3, shown, squeeze=False)
    for line, name, start in zip(grid, names, (0, middle, len(rows) - shown), strict=True):
        for axes, row in zip(line, rows[start : start + shown], strict=True):
            image = dataset[row.index][0].numpy()
            axes.imshow(np.moveaxis(image, 0, -1))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(f"{answered(row)}\n{row.sigma:.3f}", fontsize=9)
            if not row.correct:
                axes.xaxis.label.set_color(WRONG)
        line[0].set_ylabel(f"{name} sigma")
    caption = (
        f"Test images of {entry.title} with the smallest, the middle and the largest of the sigmas "
        f"chosen for its {len(rows)} inputs; below each its label, in orange with the answer "
        f"where that is another one, and its sigma ({PIXELS})."
    )
    return "examples", caption, figure


def answered(row: CertifiedRow) -> str:
    """The label of an input, and what was answered where that is another."""
    label = CLASSES[row.label]
    if row.correct:
        return label
    answer = "abstained" if row.prediction == ABSTAIN else CLASSES[row.prediction]
    return f"{label} ({answer})"


def draw_orders(adaptive: Sequence[Entry]) -> Picture:
    """How the ACR of each row depends on the order in which its memory meets the inputs."""
    if not adaptive:
        return "orders", "No row with a sigma for each input is certified yet.", None
    try:
        found = [reorder(entry.test.path, ORDERS, seed=SEED, quiet=True) for entry in adaptive]
    except DDRSError as error:
        return "orders", f"Other orders cannot be tried: {error}", None
    figure = Figure(figsize=(9.5, 1.4 + 0.32 * len(found)), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    for place, one in enumerate(found):
        axes.plot(
            [one.acr.lowest, one.acr.highest],
            [place, place],
            color=COLOURS[0],
            linewidth=5,
            alpha=0.4,
            solid_capstyle="butt",
        )
        axes.plot(one.acr.run, place, "o", color=COLOURS[0], markersize=5)
        text = f"{one.changed_class} change class, {one.changed_radius} radius"
        axes.annotate(
            text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9
        )
    axes.set_yticks(range(len(found)), [entry.title for entry in adaptive], parse_math=False)
    axes.set(xlabel=f"ACR ({PIXELS})", ylim=(len(found) - 0.5, -0.5))
    caption = (
        f"ACR of each row in the order of the test set (dot) and over {ORDERS} shuffled orders "
        f"(bar: lowest to highest; seed {SEED}), each with a fresh memory; beside it, how many "
        "inputs change class or radius in some order."
    )
    return "orders", caption, figure


def draw_stream(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """What a memory did with each kind of input.

    Args:
        counts: kind of inputs -> outcome -> how many.
    """
    figure = Figure(figsize=(7.5, 3), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    axes.grid(visible=False, axis="y")
    totals = np.array([sum(some.values()) for some in counts.values()])
    ends = np.zeros(len(counts))
    colours = (COLOURS[0], COLOURS[2], COLOURS[1], INK)
    for outcome, colour in zip(next(iter(counts.values())), colours, strict=True):
        numbers = [some[outcome] for some in counts.values()]
        bars = axes.barh(
            [*counts], numbers / totals, left=ends, color=colour, alpha=0.75, label=outcome
        )
        texts = [str(number or "") for number in numbers]
        axes.bar_label(bars, texts, label_type="center", fontsize=8, color="white")
        ends += numbers / totals
    axes.set(xlabel="share of the inputs, with their number", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize=9)
    return figure
