"""Tables of all rows, of each training, of differences, and of the best at each radius."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq

from ddrs import ABSTAIN, Certificate, recompute_radius
from ddrs.display import markdown
from ddrs.display.rounding import rounded_down, rounded_up
from ddrs.evaluation.comparison import compare
from experiments.cifar10.report.cells import (
    NONE,
    OTHERWISE,
    PERCENT,
    RADII,
    acr_text,
    at,
    best_by_input,
    difference,
    half_width,
    made_otherwise,
    number,
    otherwise,
    sources,
)
from experiments.cifar10.report.paper import paper_row, paper_text
from experiments.cifar10.report.stored import KINDS, METHODS, SEVERAL, Certified, Entry, shared
from experiments.cifar10.report.texts import bullets

RULES = {"fixed": "fixed", "gradient": "Algorithm 1", "search": "search"}
OUTCOMES = ("trimmed", "inherited")
BOUNDS = ("one-sided", "two-sided")
WRONG_AT = (0.0, 0.5)
ALONE = r" \*"


def all_rows(entries: Sequence[Entry]) -> str:
    """What came of each row, on all its inputs."""
    done = [(entry, entry.test) for entry in entries if entry.test is not None]
    if not done:
        return "No row is certified yet."
    lines, widths = [], []
    for entry, test in done:
        (found,) = compare([test.run])
        outcomes = [getattr(found, key) for key in OUTCOMES]
        accuracies = [test.mean(radius, test.right) for radius in RADII]
        widths.append(half_width(accuracies, len(test.right)))
        steps = f", K = {entry.options['steps']}" if "steps" in entry.options else ""
        lines.append(
            [
                entry.title + ALONE * (found.sound_together is False),
                entry.model,
                RULES[entry.options["policy"]] + steps,
                f"{'at most ' * (test.grid is not None)}{test.config.n}",
                f"{test.config.alpha:g}",
                str(len(test.right)),
                acr_text(found.acr, [test]),
                *map(number, accuracies),
                str(found.abstained),
                *(str(wrong(test, radius)) for radius in WRONG_AT),
                f"{found.votes / len(test.right):.0f}",
                number(None if len(test.models) > 1 else found.clean_accuracy),
                *(NONE if one is None else str(one) for one in outcomes),
            ]
        )
    names = ["row", "model", "policy", "n", "alpha", "inputs", "ACR", *map(at, RADII)]
    names += ["abstained", *(f"wrong at {at(radius)}" for radius in WRONG_AT)]
    names += ["votes per input", "clean accuracy", *OUTCOMES]
    alone = any(line[0].endswith(ALONE) for line in lines)
    notes = [
        f"The accuracy at r is the certified one; {PERCENT} Clopper-Pearson intervals reach at "
        f"most {rounded_up(max(widths), 3)} to either side. The clean accuracy is that of the "
        "classifier without noise.",
        "Wrong at r: certified there, with another class than the label. A step of Algorithm 1, "
        "forward and backward, counts as one vote.",
        "No row is chosen here. Sigma is the one of the training (fixed) or chosen by the policy "
        "for each input, whose label it does not know.",
        *[f"{ALONE.strip()} without a memory: these certificates are not sound together."] * alone,
        sources([test for _, test in done]),
        *trained_again([entry for entry, _ in done]),
        *in_bf16([entry for entry, _ in done]),
    ]
    return markdown.table(names, lines, left=3) + bullets(notes)


def wrong(test: Certified, radius: float) -> int:
    """How many inputs are certified another class than their label's at a radius."""
    rows = test.run.rows
    answered = [row for row in rows if row.prediction not in (row.label, ABSTAIN)]
    return sum(row.radius >= radius for row in answered)


def trained_again(entries: Sequence[Entry]) -> list[str]:
    """Which models stand for several classifiers, and which rows are of which one."""
    rows: dict[str, dict[str, list[str]]] = {}  # model -> digest -> rows
    for entry in entries:
        for model, digest in entry.test.digests.items():
            rows.setdefault(model, {}).setdefault(digest, []).append(f"`{entry.name}`")
    several = [
        f"`{model}` (rows {'; '.join(', '.join(some) for some in classifiers.values())})"
        for model, classifiers in rows.items()
        if len(classifiers) > 1
    ]
    text = (
        "Models that were trained more than once with the same options, which gives other weights "
        "on another processor or in bf16, or that run in two precisions; rows of one classifier "
        f"stand together, others after a semicolon: {', '.join(several)}."
    )
    return [text] * bool(several)


def in_bf16(entries: Sequence[Entry]) -> list[str]:
    """Which rows are of classifiers that compute in bf16."""
    names = [f"`{entry.name}`" for entry in entries if entry.test.config.precision == "bf16"]
    which = ", ".join(names) if len(names) < len(entries) else "all rows"
    return [f"Forward passes in bf16 instead of fp32: {which}."] * bool(names)


def side_by_side(entries: Sequence[Entry], radius: float | None) -> str:
    """For each training one sigma beside a choice for each input, at a radius, or the ACR for None.

    Of several rows of Algorithm 1 it is that of most steps.
    """
    rules = {
        "one sigma": ("fixed", "fixed"),
        "DS, Algorithm 1": ("DS", "gradient"),
        "DS, search": ("DS", "search"),
        "DS2, search": ("DS2", "search"),
    }
    lines = []
    for method in METHODS:
        found = [e for e in entries if e.method == method and e.test and method != SEVERAL]
        for sigma in sorted({entry.sigma for entry in found}):
            rows = {
                name: max(
                    (e for e in found if (e.sigma, e.kind, e.options["policy"]) == (sigma, *rule)),
                    key=lambda entry: entry.options.get("steps", 0),
                    default=None,
                )
                for name, rule in rules.items()
            }
            base, *others = (row.test if row else None for row in rows.values())
            if base is None:
                continue
            cells = [mean_text(one, radius) for one in (base, *others)]
            for one in others:
                cells.append(NONE if one is None else difference(one, base, radius))
            lines.append([METHODS[method], f"{sigma:g}", *cells])
    if not lines:
        return "No row of one sigma is certified yet."
    names = ["training", "sigma", *rules]
    names += [f"{name} less one sigma" for name in list(rules)[1:]]
    what = "Certified accuracy at " * (radius is not None) + at(radius)
    notes = [
        f"{what}, of the rows above; an ACR is a lower bound, as there. One sigma and DS are of "
        "one training, DS2 of another, with a sigma for every example. In brackets "
        f"{PERCENT} intervals of the paired difference.",
    ]
    return markdown.table(names, lines, left=1) + bullets(notes + otherwise(lines))


def mean_text(one: Certified | None, radius: float | None) -> str:
    """The certified accuracy of a row at a radius, the ACR for None, rounded down."""
    mean = None if one is None else one.mean(radius, one.right)
    return number(mean) if radius is not None or mean is None else rounded_down(mean, 3)


def two_sided(entries: Sequence[Entry]) -> str:
    """What the two-sided bound would have made of the very votes of each row."""
    lines = []
    for entry in entries:
        if entry.test is None:
            continue
        rows = pq.read_table(entry.test.path / "certificates.parquet").to_pylist()
        certificates = [Certificate.from_row(row) for row in rows]
        right = np.array([row["correct"] for row in rows])
        radii = {
            bound: right * [recompute_radius(replace(one, bound=bound)) for one in certificates]
            for bound in BOUNDS
        }
        lines.append(
            [
                entry.title,
                *(rounded_down(float(some.mean()), 3) for some in radii.values()),
                *(number(float((some >= r).mean())) for r in (0.5, 1.0) for some in radii.values()),
            ]
        )
    if not lines:
        return "No row is certified yet."
    names = [f"{what}, {bound}" for what in ("ACR", at(0.5), at(1.0)) for bound in BOUNDS]
    notes = [
        "Computed from the counts in the certificates, whatever the memory did. Low for the "
        "two-sided bound: the votes stopped where the one-sided one had its answer, and where that "
        "abstains there is no class. Which bound is used must be settled before the votes are "
        "seen.",
    ]
    return markdown.table(["row", *names], lines, left=1) + bullets(notes)


def differences(entries: Sequence[Entry], pairs: Iterable[Sequence[str]]) -> str:
    """Rows less other rows, on the test inputs that both have."""
    done = {entry.name: entry.test for entry in entries if entry.test is not None}
    lines = []
    for first, second in pairs:
        if first not in done or second not in done:
            continue
        both = done[first], done[second]
        mark = OTHERWISE * made_otherwise(*both)
        cells = [difference(*both, radius).removesuffix(OTHERWISE) for radius in (*RADII, None)]
        lines.append([f"{first} less {second}{mark}", str(len(shared(both))), *cells])
    if not lines:
        return "No two rows to compare are certified yet."
    notes = [
        f"In brackets {PERCENT} intervals of the paired difference, as above. Differences of ACRs "
        "are those of lower bounds where votes stopped once a grid of radii was settled.",
        *otherwise(lines),
    ]
    return markdown.table(["", "inputs", *map(at, RADII), "ACR"], lines, left=1) + bullets(notes)


def envelope(entries: Sequence[Entry], norm: str) -> str:
    """The best of all rows of a method and kind, anew at each radius, on the test inputs."""
    done = [entry.test for entry in entries if entry.test is not None]
    if not done:
        return "No row is certified yet."
    inputs, radii = shared(done), (*RADII, 2.0)
    groups: dict[tuple[str, str], list[Entry]] = {}
    for method in METHODS:
        for kind in KINDS:
            found = [e for e in entries if (e.method, e.kind) == (method, kind)]
            groups |= {(method, kind): found} if found else {}
    lines, accuracies = [], []
    for (method, kind), rows in groups.items():
        tests = [entry.test for entry in rows if entry.test is not None]
        means = [[one.mean(radius, inputs) for one in tests] for radius in (*radii, None)]
        tops = [max((a for a in some if a is not None), default=None) for some in means]
        accuracies += tops[:-1]
        lines.append(
            [
                METHODS[method] + KINDS[kind],
                f"{len(tests)} of {len(rows)}",
                *map(number, tops[:-1]),
                acr_text(tops[-1], tests),
                best_by_input(tests, None, inputs),
            ]
        )
        row = paper_row(norm, method, kind)
        if row:
            cells = [paper_text([row], radius) for radius in (*radii, None)]
            lines.append([f"{row['name']} (paper)", NONE, *cells[:-1], NONE, cells[-1]])
    names = ["best of", "rows", *map(at, radii), "ACR of the best row", "ACR of the best by input"]
    notes = [
        "Each cell is the best of the rows that there are, over sigma, rule and K, chosen on these "
        "very test inputs, for a fixed sigma and for one per input alike: what an oracle reaches "
        "and nobody can deploy. The last column takes the best row for each input, as the paper's "
        "ACR seems to.",
        f"{PERCENT} Clopper-Pearson intervals, which do not know of this choice, reach at most "
        f"{rounded_up(half_width(accuracies, len(inputs)), 3)} to either side on the "
        f"{len(inputs)} inputs that all these rows have.",
        "The paper's rows are of a ResNet-18 with n = 100000, alpha = 0.001.",
        sources(done),
    ]
    return markdown.table(names, lines, left=1) + bullets(notes)
