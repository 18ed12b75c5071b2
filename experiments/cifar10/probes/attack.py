"""Attack a finished run of `ddrs certify` that has a memory, inside its balls and outside.

    python -m experiments.cifar10.probes.attack RUN --steps 20 --draws 64 --out FILE.json

It is `ddrs attack`, whose result stays beside FILE as FILE.points.json, told as the study tells it:

- same sigma: the smoothed classifier with the input's own sigma, which the certificate is about.
  Closer than R its class must be the input's; no memory sees to that.
- memory: that of the run, read-only. Closer than R it gives the input's answer because it has the
  ball. Farther out it may give any.
- alone: an empty memory, asked before the input; what the point's own votes certify.
- writing: a copy of the memory that stores every point, as one that an attacker may write to does.

A table of how often the answer is another one goes to the terminal, and with every point to FILE.
The exit code is 1 if inside a certified ball votes prove another class, which happens by chance
with probability alpha at most for all points of a distance, or a memory gave another answer.
Run it from the root of the project, and for a run that was made there: the paths of its data and
model may be relative.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ddrs import ABSTAIN, __version__
from ddrs.display import markdown
from ddrs.engines.local.attack import attack_run
from ddrs.errors import DDRSError, RunError
from ddrs.evaluation import accuracy_interval
from ddrs.files import write
from ddrs.finished.reading import read_finished
from ddrs.jobs.attack import AttackJob
from ddrs.runs.attacks import Attacked
from ddrs.runs.directory import read_config
from experiments.cifar10.probes.stream import new_file, positive, whole

COUNTED = ("changed", "abstained")
FACTORS = (0.95, 1.5, 2.0)


def attack(run: Path, settings: dict[str, Any], out: Path) -> tuple[Attacked, ...]:
    """The points of `ddrs attack` on a run with a memory, which stay at `out`.

    Raises:
        RunError: the run is not one that the study attacks.
        DDRSError: it cannot be attacked.
    """
    finished = read_finished(run)
    if finished.config.memory != "run":
        raise RunError(
            f"{run} has no memory of its own (--memory {finished.config.memory}): certify into "
            "another directory with --memory run, and attack that"
        )
    return attack_run(finished, AttackJob(**settings), out).points


def summary(points: Sequence[Attacked]) -> dict[str, Any]:
    """Figures of the points at one distance.

    An answer that changed is another class; an abstention is none. `interval` is the
    Clopper-Pearson interval of 95 % for the share of points where the memory's answer changed.
    `certified_anew` counts the points that the copy stored with a ball of another class, and
    `trimmed` those of them whose ball it had to cut.
    """

    def tell(setting: str) -> dict[str, int]:
        abstained = [point.answers[setting].prediction == ABSTAIN for point in points]
        changed = [point.changed(setting) for point in points]
        return {"changed": sum(changed), "abstained": sum(abstained)}

    def outcomes(setting: str) -> Counter[str | None]:
        return Counter(point.answers[setting].outcome for point in points)

    memory = tell("read-only")
    stored = [(point.prediction, point.answers["after"]) for point in points]
    anew = [one for given, one in stored if one.prediction != given and one.radius > 0]
    return {
        "factor": points[0].factor,
        "points": len(points),
        "inside": sum(point.inside for point in points),
        "broken": sum(bool(point.violations) for point in points),
        "same_sigma": tell("own sigma"),
        "memory": {**memory, "outcomes": outcomes("read-only")},
        "interval": accuracy_interval(memory["changed"], len(points)),
        "alone": tell("before"),
        "writing": {
            **tell("after"),
            "certified_anew": len(anew),
            "trimmed": sum(one.outcome == "trimmed" for one in anew),
            "outcomes": outcomes("after"),
        },
    }


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """A line for each distance."""
    names = ["distance", "points", "inside", "same sigma: changed", "abstained"]
    names += ["memory: changed", "95 % interval", "abstained"]
    names += ["alone: changed", "abstained", "writing: certified anew", "trimmed"]
    lines = []
    for one in summaries:
        memory, alone, writing = one["memory"], one["alone"], one["writing"]
        low, high = one["interval"]
        cells = [one["points"], one["inside"], *(one["same_sigma"][key] for key in COUNTED)]
        cells += [memory["changed"], f"{low:.1%} to {high:.1%}"]
        cells += [memory["abstained"], alone["changed"], alone["abstained"]]
        cells += [writing["certified_anew"], writing["trimmed"]]
        lines.append([f"{one['factor']:g} R", *map(str, cells)])
    return markdown.table(names, lines, left=0)


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run of ddrs certify")
    parser.add_argument("--inputs", type=whole, default=100, help="how many, from the first")
    parser.add_argument(
        "--factor",
        type=positive,
        action="append",
        metavar="F",
        help="distance in units of the certified radius; may be given again (0.95, 1.5 and 2)",
    )
    parser.add_argument("--steps", type=whole, default=20, help="gradients of an attack")
    parser.add_argument("--draws", type=whole, default=64, help="noisy copies behind a gradient")
    parser.add_argument("--seed", type=int, default=0, help="key of their noise")
    parser.add_argument("--out", type=new_file, required=True, metavar="FILE.json")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    asked = arguments().parse_args(words)
    settings = {name: getattr(asked, name) for name in ("inputs", "steps", "draws", "seed")}
    settings["factors"] = sorted({*(asked.factor or FACTORS)})
    try:
        points = attack(asked.run, settings, asked.out.with_suffix(".points.json"))
        summaries = [
            summary([point for point in points if point.factor == factor])
            for factor in settings["factors"]
        ]
        made = {
            "run": str(asked.run),
            "settings": settings,
            "config": read_config(asked.run),
            "version": __version__,
            "attacks": summaries,
            "points": [asdict(point) for point in points],
        }
        print(table(summaries))
        write(asked.out, json.dumps(made, indent=2) + "\n", "attack")
    except (DDRSError, OSError) as error:
        sys.exit(f"error: {error}")
    broken = [point for point in points if point.violations]
    for p in broken:
        given = {setting: p.answers[setting].prediction for setting in p.violations}
        print(
            f"violation: input {p.index} is certified class {p.prediction} within {p.radius}, "
            f"but {p.distance} away there is another answer: {given}"
        )
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    main()
