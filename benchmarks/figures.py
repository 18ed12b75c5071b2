"""Pictures of the reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["memory_figure", "speed_figure", "stages_figure"]

BARE, OURS, PEERS = "#9a9a9a", "#1f77b4", "#e08214"
STAGES = {
    "noise": "#4393c3",
    "forward": "#1b4f72",
    "adding and counting": "#92c5de",
    "search of sigma": "#e08214",
    "memory": "#b2182b",
    "writing": "#7b3294",
    "everything else": "#9a9a9a",
}
"""Stage -> colour, in the order of a certification."""


def speed_figure(cases: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One bar an arm: its rate beside that of the bare forward pass in fp32, round by round.

    Args:
        cases: the report.
        path: where the PNG goes.
    """
    from matplotlib.figure import Figure

    shown = {name: case for name, case in cases.items() if len(case["arms"]) > 1}
    if not shown:
        return
    heights = [len(case["arms"]) + 1.5 for case in shown.values()]
    figure = Figure(figsize=(8, 0.32 * sum(heights) + 0.6), layout="constrained")
    grid = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, case in zip(grid[:, 0], shown.values(), strict=True):
        arms = case["arms"]
        reference = next(iter(arms))
        for place, (name, arm) in enumerate(arms.items()):
            pairs = [a / b for a, b in zip(arm["rates"], arms[reference]["rates"], strict=True)]
            middle = median(pairs)
            colour = OURS if name.startswith("ddrs ") else PEERS
            colour = BARE if name.startswith(("bare", "passes")) else colour
            axes.barh(place, middle, color=colour, height=0.7)
            axes.plot([min(pairs), max(pairs)], [place, place], color="black", linewidth=1)
            axes.annotate(
                f"{middle:.2f}",
                (max(*pairs, middle), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(arms)), list(arms), fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_title(case["title"], fontsize=9, loc="left")
        axes.set_xlabel(f"times the rate of {reference}", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def stages_figure(profiles: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One stacked bar a network: the share of every stage in the time of a certification.

    Args:
        profiles: network -> its profile, with `stages` (seconds) in the order of `STAGES`.
        path: where the PNG goes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.75 * len(profiles) + 1.5), layout="constrained")
    axes = figure.subplots()
    labels = []
    for place, profile in enumerate(profiles.values()):
        total = sum(profile["stages"].values())
        start = 0.0
        for stage, colour in STAGES.items():
            share = 100 * profile["stages"].get(stage, 0.0) / total
            axes.barh(place, share, left=start, color=colour, height=0.6)
            if share >= 4:
                axes.text(
                    start + share / 2,
                    place,
                    f"{share:.0f} %",
                    ha="center",
                    va="center",
                    color="white" if stage != "adding and counting" else "black",
                    fontsize=8,
                )
            start += share
        labels.append(f"{profile['title']}\n{profile['caption']}")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the time, %", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=[_patch(colour, stage) for stage, colour in STAGES.items()],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=150)


def memory_figure(report: Mapping[str, Any], path: Path) -> None:
    """Milliseconds per call over the number of entries, both axes logarithmic.

    Args:
        report: of the memory.
        path: where the PNG goes.
    """
    from matplotlib.figure import Figure

    sizes = sorted(report["sizes"].values(), key=lambda size: size["entries"])
    lines = {
        "public rule over a list": ([s for s in sizes if s["list_ms"]], "list_ms", PEERS),
        "resolve, durable": (sizes, "resolve_ms", OURS),
        "lookup": (sizes, "lookup_ms", "#92c5de"),
    }
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, (shown, key, colour) in lines.items():
        entries = [size["entries"] for size in shown]
        axes.plot(entries, [median(s[key]) for s in shown], "o-", color=colour, label=label)
    many = [size["resolve_many_ms"] for size in sizes]
    axes.plot([s["entries"] for s in sizes], many, "o--", color=OURS, label="resolve_many, each")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("entries", fontsize=8)
    axes.set_ylabel("milliseconds per input, one core", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
