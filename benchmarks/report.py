"""Figures from measurements: ratios of arms that took turns, what they should reach, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ddrs.display.markdown import table

__all__ = [
    "Limit",
    "Ratio",
    "growth_per_vote",
    "memory_limits",
    "memory_tables",
    "ratios",
    "tables",
    "training_tables",
]

SLACK_MB = 1024.0  # a certification may need this much more memory than the model itself


@dataclass(frozen=True)
class Ratio:
    """How many times faster one arm is than another, measured in pairs.

    Attributes:
        of: the arm.
        to: the arm it is compared with.
        pairs: the ratio of their rates in every round.
        target: what the median should reach; None where nothing is promised.
        fastest: whether the arm was taken because it is the fastest of its kind.
    """

    of: str
    to: str
    pairs: tuple[float, ...]
    target: float | None = None
    fastest: bool = False

    @property
    def median(self) -> float:
        """The figure to quote."""
        return median(self.pairs)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.median >= self.target

    def to_json(self) -> dict[str, Any]:
        """Everything, derived figures included."""
        return {
            "of": self.of,
            "fastest": self.fastest,
            "to": self.to,
            "median": self.median,
            "lowest": min(self.pairs),
            "highest": max(self.pairs),
            "target": self.target,
            "met": self.met,
            "pairs": list(self.pairs),
        }


@dataclass(frozen=True)
class Limit:
    """Peak memory of an arm beside that of the model's own forward pass, in MiB."""

    arm: str
    peak_mb: float
    model: str
    model_mb: float

    @property
    def met(self) -> bool:
        """Whether the arm stays under the model's own peak and `SLACK_MB`."""
        return self.peak_mb <= self.model_mb + SLACK_MB

    def to_json(self) -> dict[str, Any]:
        """Everything, derived figures included."""
        return {
            "arm": self.arm,
            "peak_mb": self.peak_mb,
            "model": self.model,
            "model_mb": self.model_mb,
            "slack_mb": SLACK_MB,
            "met": self.met,
        }


def ratios(
    rates: Mapping[str, Sequence[float]], targets: Sequence[tuple[str, str, float | None]]
) -> list[Ratio]:
    """The ratios asked for, round by round, of the arms that were measured.

    Args:
        rates: arm -> rate in every round; rounds are the same for all.
        targets: (arm, arm it is compared with, target). An arm that ends in `*` stands for the
            fastest, by median rate, of those that begin with what is before it.
    """
    found = []
    for pattern, to, target in targets:
        fastest = pattern.endswith("*")
        of = _fastest(pattern[:-1], rates) if fastest else pattern
        if of in rates and to in rates:
            pairs = tuple(a / b for a, b in zip(rates[of], rates[to], strict=True))
            found.append(Ratio(of, to, pairs, target, fastest))
    return found


def _fastest(prefix: str, rates: Mapping[str, Sequence[float]]) -> str:
    arms = [arm for arm in rates if arm.startswith(prefix)]
    return max(arms, key=lambda arm: median(rates[arm]), default=prefix)


def memory_limits(peaks: Mapping[str, float]) -> list[Limit]:
    """Each arm of ours beside the bare forward pass in its precision.

    Args:
        peaks: arm -> peak memory in MiB.
    """
    found = []
    for arm, peak in peaks.items():
        model = f"bare {arm.rpartition(' ')[2]}"
        if arm.startswith("ddrs ") and model in peaks:
            found.append(Limit(arm, peak, model, peaks[model]))
    return found


def growth_per_vote(points: Sequence[tuple[int, float]]) -> float:
    """What one more vote adds to peak memory, from (n, peak) at the least and the largest n."""
    (n, least), (m, most) = min(points), max(points)
    return (most - least) / (m - n)


def memory_tables(report: Mapping[str, Any]) -> str:
    """The memory at growing sizes, the public rule beside it, and its writers, as Markdown."""
    header = [
        "entries",
        "open, s",
        "resident, MiB",
        "file, MiB",
        "lookup, ms",
        "resolve, ms",
        "95 %, ms",
        "resolve_many, ms",
        "public list, ms",
        "list / resolve",
        "audit, s",
    ]
    rows = []
    for size in report["sizes"].values():
        resolve = sorted(size["resolve_ms"])
        listed = median(size["list_ms"]) if size["list_ms"] else None
        rows.append(
            [
                f"{size['entries']:,}",
                f"{size['open_seconds']:.1f}",
                f"{size['resident_mib']:,.0f}",
                f"{size['file_mib']:,.0f}",
                f"{median(size['lookup_ms']):.1f}",
                f"{median(resolve):.1f}",
                f"{resolve[int(0.95 * len(resolve))]:.1f}",
                f"{size['resolve_many_ms']:.2f}",
                "-" if listed is None else f"{listed:,.0f}",
                "-" if listed is None else f"{listed / median(resolve):.1f}",
                f"{size['audit']['seconds']:,.0f}" if "audit" in size else "-",
            ]
        )
    writers = [
        [kind, *(f"{rates[n]:,.0f}" for n in ("1", "2", "4"))]
        for kind, rates in report["writers"].items()
    ]
    parts = [table(header, rows, left=0)]
    if writers:
        head = ["answers stored one by one, per second", "1 writer", "2 writers", "4 writers"]
        parts.append(table(head, writers, left=1))
    return "\n\n".join(parts)


def training_tables(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """What a step of every way to train takes, and what it costs beside others, as Markdown."""
    steps = [
        [
            case["title"],
            name,
            str(case["batch"]),
            f"{arm['passes']:.2f}",
            f"{1000 * median(arm['seconds']):,.2f}",
            f"{case['batch'] / median(arm['seconds']):,.0f}",
        ]
        for case in cases.values()
        for name, arm in case["arms"].items()
    ]
    header = ["network", "arm", "batch", "passes", "ms per step", "images per second"]
    rows = [
        [
            case["title"],
            cost["of"],
            f"{cost['passes']:.2f} x {cost['to']}",
            f"{cost['median']:.3f}",
            f"{cost['lowest']:.3f}",
            f"{cost['highest']:.3f}",
            str(len(cost["pairs"])),
            "" if cost["allowed"] is None else f"{cost['allowed']:.2f}",
            _verdict(cost["met"]),
        ]
        for case in cases.values()
        for cost in case["costs"]
    ]
    head = ["network", "a step of", "over", "median", "lowest", "highest", "pairs", "target", "met"]
    return "\n\n".join([table(header, steps, left=2), table(head, rows, left=3)])


def tables(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole report as Markdown: what was measured, what it says, what is missing."""
    parts = [_arms_table(cases), _ratios_table(cases), _limits_table(cases), _growth_table(cases)]
    remarks = [
        f"- not measured: {arm}, {case['title']}: {reason}"
        for case in cases.values()
        for arm, reason in case["missing"].items()
    ]
    notes = [
        note
        for case in cases.values()
        for note in [*case["notes"], *(arm.get("note", "") for arm in case["arms"].values())]
    ]
    remarks += [f"- {note}" for note in dict.fromkeys(notes) if note]
    return "\n\n".join(part for part in [*parts, "\n".join(remarks)] if part)


def _arms_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            case["title"],
            name,
            str(arm.get("batch", "")),
            f"{median(arm['rates']):,.0f}",
            f"{arm['set_up_seconds']:.1f}",
            f"{arm['peak_mb']:,.0f}",
        ]
        for case in cases.values()
        for name, arm in case["arms"].items()
    ]
    header = ["network", "arm", "batch", "per second", "set-up, s", "peak, MiB"]
    return table(header, rows, left=2)


def _ratios_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            case["title"],
            f"{ratio['of']}{' (fastest)' if ratio['fastest'] else ''} / {ratio['to']}",
            f"{ratio['median']:.2f}",
            f"{ratio['lowest']:.2f}",
            f"{ratio['highest']:.2f}",
            str(len(ratio["pairs"])),
            "" if ratio["target"] is None else f"{ratio['target']:.2f}",
            _verdict(ratio["met"]),
        ]
        for case in cases.values()
        for ratio in case["ratios"]
    ]
    header = ["network", "ratio", "median", "lowest", "highest", "pairs", "target", "met"]
    return table(header, rows, left=2)


def _limits_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            case["title"],
            limit["arm"],
            f"{limit['peak_mb']:,.0f}",
            f"{limit['model_mb']:,.0f}",
            f"{limit['peak_mb'] - limit['model_mb']:+,.0f}",
            f"{limit['slack_mb']:+,.0f}",
            _verdict(limit["met"]),
        ]
        for case in cases.values()
        for limit in case["memory"]
    ]
    header = ["network", "arm", "peak, MiB", "model's own", "difference", "allowed", "met"]
    return table(header, rows, left=2) if rows else ""


def _growth_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for case in cases.values():
        for arm in dict.fromkeys(point["arm"] for point in case["growth"]):
            points = sorted((p["n"], p["peak_mb"]) for p in case["growth"] if p["arm"] == arm)
            if len(points) < 2:
                continue
            (n, least), (m, most) = points[0], points[-1]
            a_vote = growth_per_vote(points)
            rows.append(
                [
                    case["title"],
                    arm,
                    f"{least:,.0f} at n = {n:,}",
                    f"{most:,.0f} at n = {m:,}",
                    f"{1024 * a_vote:+,.1f}",
                    f"{(most + a_vote * (100_000 - m)) / 1024:,.1f}",
                ]
            )
    header = [
        "network",
        "arm",
        "peak, MiB",
        "peak, MiB",
        "KiB per vote",
        "GiB, line to n = 100,000",
    ]
    return table(header, rows, left=2) if rows else ""


def _verdict(met: bool | None) -> str:
    return {True: "yes", False: "NO", None: ""}[met]
