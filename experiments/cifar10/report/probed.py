"""What the stream and the attack came to, as sections of the report."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ddrs import ABSTAIN
from ddrs.display import markdown
from ddrs.display.rounding import rounded_down
from ddrs.errors import DDRSError, RunError
from ddrs.files import write
from ddrs.finished.orders import reorder
from ddrs.runs.directory import read_config
from experiments.cifar10.probes.attack import table as attack_table
from experiments.cifar10.probes.stream import KINDS
from experiments.cifar10.report.figures import draw_stream
from experiments.cifar10.report.texts import bullets

ORDERS = 20
OUTCOMES = ("own", "trimmed", "inherited", "abstained")


def stream_section(folder: Path, options: Mapping[str, Any]) -> tuple[str, Figure | None]:
    """What the memory did with the stream, by the kind of its inputs, and a figure of it.

    Args:
        folder: the certificates, and the kinds of the inputs.
        options: what the stream was made with.

    Raises:
        RunError: the list of kinds is of another stream than the certificates.
    """
    if not (folder / "certificates.parquet").exists() or not (folder / "stream.csv").exists():
        return "Not certified yet.", None
    rows = pq.read_table(folder / "certificates.parquet").to_pylist()
    kinds = [line["kind"] for line in csv.DictReader((folder / "stream.csv").open(newline=""))]
    if len(kinds) != len(rows):
        raise RunError(f"{folder} has {len(rows)} certificates for {len(kinds)} inputs")
    found = {kind: [row for row in rows if kinds[row["index"]] == kind] for kind in KINDS}
    groups = {kind: some for kind, some in (found | {"all": rows}).items() if some}
    counts = {kind: outcomes(some) for kind, some in groups.items()}
    lines = [stream_line(kind, some, counts[kind]) for kind, some in groups.items()]
    config = read_config(folder)
    names = ["kind", "inputs", *OUTCOMES, "class changed", "class given", "mean radius alone"]
    names += ["with the memory"]
    notes = [
        f"Model `{Path(config['model']).name}`, {len(rows)} inputs in random order, n at most "
        f"{config['n']}, n0 = {config['n0']}, alpha = {config['alpha']:g}, seed {config['seed']}. "
        "Made again by `python experiments/cifar10/study.py run stream`.",
        f"Adversarial inputs are {options['distance']:g} from a test input, where PGD makes the "
        "smoothed classifier doubt its class; interpolated ones lie closely on both sides of the "
        "border between the classes of two test inputs. Both are found at the model's training "
        "sigma, not at the one that is chosen for them. Labels play no part here.",
        "Alone is what the votes of an input certify by themselves. The class is changed where "
        "they certify another one than the memory answers, a conflict, and given where they "
        "certify none.",
        in_other_orders(folder),
    ]
    return markdown.table(names, lines, left=1) + bullets(notes), draw_stream(counts)


def outcomes(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many inputs had each outcome."""
    return {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}


def stream_line(kind: str, rows: list[dict[str, Any]], counts: dict[str, int]) -> list[str]:
    """A line of that table."""
    others = [row["own_prediction"] for row in rows if row["prediction"] != row["own_prediction"]]
    given = others.count(ABSTAIN)
    means = [
        np.mean([row[radius] * (row[answer] != ABSTAIN) for row in rows])
        for answer, radius in (("own_prediction", "own_radius"), ("prediction", "radius"))
    ]
    numbers = [len(rows), *counts.values(), len(others) - given, given]
    return [kind, *map(str, numbers), *(rounded_down(float(mean), 3) for mean in means)]


def in_other_orders(folder: Path) -> str:
    """How much the answers depend on the order of the stream.

    The inputs are needed to find that out, and only their certificates are kept with the project.
    So it is kept beside these, in `orders.json`.
    """
    file = folder / "orders.json"
    digest = hashlib.sha256((folder / "certificates.parquet").read_bytes()).hexdigest()
    found = json.loads(file.read_text()) if file.exists() else {}
    if found.get("certificates") != digest:
        try:
            orders = reorder(folder, ORDERS, quiet=True)
        except DDRSError as error:
            return f"Other orders cannot be tried: {error}"
        found = {"certificates": digest, **asdict(orders)}
        write(file, json.dumps(found, indent=2) + "\n", "orders")
    return (
        f"In {found['orders']} shuffled orders (seed {found['seed']}), each with a fresh memory, "
        f"{found['changed_class']} of the inputs change class in some order and "
        f"{found['changed_radius']} radius; the mean radius of right answers is "
        f"{found['acr']['lowest']:.3f} to {found['acr']['highest']:.3f}."
    )


def attack_section(folder: Path) -> str:
    """How often an attack found another answer, inside of certified balls and outside."""
    if not (folder / "attack.json").exists():
        return "Not attacked yet."
    found = json.loads((folder / "attack.json").read_text())
    settings, config = found["settings"], found["config"]
    notes = [
        f"Row `{Path(found['run']).name}`: its first {found['attacks'][0]['points']} inputs with a "
        f"certified radius R, n at most {config['n']}, n0 = {config['n0']}, alpha = "
        f"{config['alpha']:g}, seed {config['seed']}. PGD with {settings['steps']} steps of "
        f"{settings['draws']} noisy copies each, seed {settings['seed']}. Made again by `python "
        "experiments/cifar10/study.py run attack`.",
        "Inside: points nearer than R. Same sigma: the smoothed classifier that the certificate is "
        "about, with the input's sigma; none may change inside. Memory: the row's own, read-only; "
        "inside, the ball itself answers, outside of all balls the votes do. Alone: no memory, "
        "and sigma chosen anew at the point, of which nothing is certified. "
        "Writing: a copy of the memory that stores the points; certified anew are those that "
        "got a ball of another class, trimmed those of them whose ball was cut.",
    ]
    return attack_table(found["attacks"]) + bullets(notes)
