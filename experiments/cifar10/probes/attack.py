"""Attack a finished run of `ddrs certify` that has a memory, inside its balls and outside.

    python -m experiments.cifar10.probes.attack RUN --steps 20 --draws 64 --out FILE.json

The first inputs with a certified radius R are attacked at several distances, given in units of R.
PGD against the smoothed classifier, with the sigma that the run chose for the input, looks for a
point where the input's answer is least likely. The point is then pushed to the distance. At every
point four classifiers are asked, the last three of them with the same votes:

- same sigma: the smoothed classifier with the input's own sigma, which the certificate is about.
  Closer than R its class must be the input's; no memory sees to that.
- memory: that of the run, read-only. Closer than R it gives the input's answer because it has the
  ball. Farther out it may give any.
- alone: no memory; the smoothed classifier with the sigma that the run's policy chooses there.
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
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ddrs import ABSTAIN, Certificate, Memory, SmoothedClassifier, __version__, models
from ddrs.display import markdown
from ddrs.display.progress import ProgressBar
from ddrs.errors import DDRSError, RunError
from ddrs.evaluation import accuracy_interval
from ddrs.files import write
from ddrs.finished.reading import read_finished
from ddrs.jobs.config import CertifyConfig
from ddrs.memory.regions import Resolution
from ddrs.networks.frozen import frozen
from ddrs.proof.certify import predict
from ddrs.runs.directory import read_config
from ddrs.runs.files import MEMORY_FILE
from ddrs.runs.rows import CertifiedRow
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from experiments.cifar10.probes.stream import adversarial, lengths, new_file, positive, whole

COUNTED = ("changed", "abstained")
VOTES = 1000  # that tell the class at a point with the input's sigma
FACTORS = (0.95, 1.5, 2.0)


@dataclass(frozen=True)
class Attacked:
    """A point that an attack found, and what is answered there.

    Attributes:
        index: the input that was attacked.
        prediction: its certified class.
        radius: its certified radius.
        factor: the distance that was asked for, in units of the radius.
        distance: the l2 distance of the point from the input.
        same_sigma: the class that votes at the point prove with the input's sigma, or `ABSTAIN`.
        answer: what the run's memory answers at the point.
        outcome: where that answer comes from (`ddrs.proof.certificate.Outcome`).
        alone: the class that the point's own votes certify, or `ABSTAIN`.
        sigma: the one chosen at the point.
        written: what a copy of the memory answers that stores the points.
        written_outcome: where that answer comes from.
        written_radius: its radius.
    """

    index: int
    prediction: int
    radius: float
    factor: float
    distance: float
    same_sigma: int
    answer: int
    outcome: str
    alone: int
    sigma: float
    written: int
    written_outcome: str
    written_radius: float

    @property
    def breaks(self) -> bool:
        """Whether another class is proved or answered inside the certified ball: none may be."""
        kept = self.answer == self.written == self.prediction
        kept = kept and self.same_sigma in (self.prediction, ABSTAIN)
        return self.distance < self.radius and not kept


def attack(
    run: Path, *, inputs: int, factors: Sequence[float], steps: int, draws: int, seed: int
) -> list[Attacked]:
    """Attack the first certified inputs of a run at every distance.

    Args:
        run: the run directory; nothing in it is changed.
        inputs: how many inputs, at most.
        factors: distances in units of an input's certified radius.
        steps: gradients of an attack.
        draws: noisy copies behind each gradient.
        seed: key of their noise.

    Returns:
        The points, those of the first distance first.

    Raises:
        RunError: the run is not one that can be attacked, or its data changed.
        DDRSError: its classifier cannot be loaded, or its memory belongs to another one.
    """
    finished = read_finished(run)
    config = finished.config
    if config.memory != "run":
        raise RunError(
            f"{run} has no memory of its own (--memory {config.memory}): certify into another "
            "directory with --memory run, and attack that"
        )
    if config.smoothing_noise.norm != "l2":
        raise RunError(
            f"{run} certifies {config.smoothing_noise.norm} balls, and PGD looks in l2 balls only"
        )
    rows = [row for row in finished.rows if row.radius > 0][:inputs]
    if not rows:
        raise RunError(f"{run} certifies no input, so there is nothing to attack")
    dataset = finished.load_data(rows)
    x = torch.stack([dataset[row.index][0] for row in rows])
    database = run / MEMORY_FILE
    found = []
    with Memory(f"sqlite:///{database.resolve()}", read_only=True) as memory:
        smoothed = classifier(config, memory)
        # The votes that a stopping rule spares count too.
        passes = len(rows) * (steps * draws + VOTES + smoothed.cost)
        with ProgressBar(f"attack {run}", passes * len(factors), "passes") as bar:
            smoothed.on_votes(bar.advance)
            search = {"steps": steps, "draws": draws, "seed": seed, "on_passes": bar.advance}
            for done, factor in enumerate(factors, start=1):
                bar.note(f"at {factor:g} R")
                points, same = points_at(
                    factor, smoothed, rows, x, alpha=config.alpha / len(rows), search=search
                )
                certificates = smoothed.certify(
                    points,
                    at_radii=config.at_radii,
                    radius_tolerance=config.radius_tolerance,
                )
                found += [
                    Attacked(
                        index=row.index,
                        prediction=row.prediction,
                        radius=row.radius,
                        factor=factor,
                        distance=distance,
                        same_sigma=proved,
                        answer=certificate.prediction,
                        outcome=certificate.outcome,
                        alone=certificate.own_prediction,
                        sigma=certificate.sigma,
                        written=written.prediction,
                        written_outcome=written.outcome,
                        written_radius=written.radius,
                    )
                    for row, distance, proved, certificate, written in zip(
                        rows,
                        lengths(points.double() - x).tolist(),
                        same.tolist(),
                        certificates,
                        stored_in_copy(database, points, certificates),
                        strict=True,
                    )
                ]
                bar.reach(done * passes)
    return found


def points_at(
    factor: float,
    smoothed: SmoothedClassifier,
    rows: Sequence[CertifiedRow],
    x: Tensor,
    *,
    alpha: float,
    search: dict[str, Any],
) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """The points of an attack at one distance, and the classes that votes prove there.

    Args:
        factor: the distance in units of the certified radius of an input.
        smoothed: the classifier; each input is attacked through the base classifier that it got.
        rows: the certificates of the inputs.
        x: `[batch, *input]` inputs.
        alpha: failure probability of one of these proofs.
        search: `steps`, `draws`, `seed` and `on_passes` of `adversarial`.

    Returns:
        `[batch, *input]` points, and `[batch]` classes with the sigma of the inputs, or `ABSTAIN`.
    """
    points, same = torch.empty_like(x), np.full(len(rows), ABSTAIN)
    classes = torch.tensor([row.prediction for row in rows])
    sigma, radius = (
        torch.tensor(values, dtype=torch.float64)
        for values in ([row.sigma for row in rows], [row.radius for row in rows])
    )
    for base in smoothed.alternatives.classifiers:
        its = [k for k, row in enumerate(rows) if row.certificate.model_digest == base.digest]
        if not its:
            continue
        points[its] = adversarial(
            base.model,
            x[its],
            classes[its],
            sigma[its],
            factor * radius[its],
            noise=smoothed.noise,
            **search,
        )
        with frozen(base.model):
            inputs = Inputs.of(points[its], search["seed"])
            counts = base.count_each(inputs, sigma[its], VOTES, "attack")
        same[its] = [predict(row, alpha=alpha) for row in counts]
    return points, same


def classifier(config: CertifyConfig, memory: Memory) -> SmoothedClassifier:
    """The smoothed classifier of a run, with its policy, its seed and a memory."""
    specs = [(config.model, config.weights), *((spec, None) for spec in config.alternatives)]
    classes = config.num_classes
    classifiers = [
        NoisyClassifier(
            models.load(spec, weights, num_classes=classes).module,
            classes,
            config.smoothing_noise,
            precision=config.precision,
            compile=config.compile,
        )
        for spec, weights in specs
    ]
    return config.classifier(classifiers, memory)


def stored_in_copy(
    database: Path, points: Tensor, certificates: Sequence[Certificate]
) -> list[Resolution]:
    """What the memory would answer if it stored the points one after the other, by their votes."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / MEMORY_FILE
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        with Memory(f"sqlite:///{copy}") as memory:
            return memory.resolve_many(
                points.numpy(),
                [certificate.own_prediction for certificate in certificates],
                [certificate.own_radius for certificate in certificates],
            )


def summary(points: Sequence[Attacked]) -> dict[str, Any]:
    """Figures of the points at one distance.

    An answer that changed is another class; an abstention is none. `interval` is the
    Clopper-Pearson interval of 95 % for the share of points where the memory's answer changed.
    `certified_anew` counts the points that the copy stored with a ball of another class, and
    `trimmed` those of them whose ball it had to cut.
    """
    given = np.array([point.prediction for point in points])

    def tell(name: str) -> dict[str, int]:
        answers = np.array([getattr(point, name) for point in points])
        abstained = answers == ABSTAIN
        return {
            "changed": int(((answers != given) & ~abstained).sum()),
            "abstained": int(abstained.sum()),
        }

    memory, writing = tell("answer"), tell("written")
    anew = [p for p in points if p.written != p.prediction and p.written_radius > 0]
    return {
        "factor": points[0].factor,
        "points": len(points),
        "inside": sum(point.distance < point.radius for point in points),
        "broken": sum(point.breaks for point in points),
        "same_sigma": tell("same_sigma"),
        "memory": {**memory, "outcomes": Counter(point.outcome for point in points)},
        "interval": accuracy_interval(memory["changed"], len(points)),
        "alone": tell("alone"),
        "writing": {
            **writing,
            "certified_anew": len(anew),
            "trimmed": sum(point.written_outcome == "trimmed" for point in anew),
            "outcomes": Counter(point.written_outcome for point in points),
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
        points = attack(asked.run, **settings)
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
    broken = [point for point in points if point.breaks]
    for p in broken:
        print(
            f"violation: input {p.index} is certified class {p.prediction} within {p.radius}, "
            f"but {p.distance} away votes prove {p.same_sigma}, {p.answer} is answered, and "
            f"{p.written} by a copy that writes"
        )
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    main()
