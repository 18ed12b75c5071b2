"""What of the gain is made at the largest sigma that a policy may choose.

Far above the sigma of its training a network answers one class for nearly everything. The images of
that class then have large radii, which are as sound as any, and say little about the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ddrs.display import markdown
from experiments.cifar10.report.cells import (
    NONE,
    OTHERWISE,
    PERCENT,
    at,
    figure_text,
    interval,
    made_otherwise,
    otherwise,
)
from experiments.cifar10.report.deployable import best, candidates
from experiments.cifar10.report.stored import Certified, Entry, Input, shared
from experiments.cifar10.report.texts import bullets

RADII = (0.5, None)


def at_the_limit(entries: Sequence[Entry]) -> str:
    """Rows with inputs at the largest sigma: how many, and what is left if they gain nothing."""
    fixed, _ = candidates(entries, [entry.method for entry in entries])
    lines = []
    for entry in entries:
        if entry.test is None or entry.kind == "fixed":
            continue
        limit = at_largest_sigma(entry.test)
        if not limit or not fixed:
            continue
        rows = entry.test.run.rows
        there = [row for row in rows if (row.index, row.label) in limit]
        ((_, most),) = Counter(row.prediction for row in there).most_common(1)
        right = sum(row.correct for row in there)
        cells = [f"{len(there)} of {len(rows)}", str(right), str(most)]
        for radius in RADII:
            cells += without(entry.test, base_of(entry, fixed, radius), radius, limit)
        lines.append([entry.title, *cells])
    if not lines:
        return "No row with a sigma for each input has one at the limit."
    names = ["row", "inputs at the limit", "right", "of one answer"]
    for radius in RADII:
        name = at(radius)
        names += [name, f"{name} without", f"{name} without, less one sigma"]
    notes = [
        "Inputs whose sigma is the largest that the policy may choose, how many of them are "
        "answered rightly, and how many get the most frequent answer among them: far above the "
        "sigma of its training a network answers one class for nearly everything.",
        "Without: these inputs are counted as with one sigma, that of the same classifier, or "
        "else of the same method and training sigma, or else, where there are several classifiers, "
        "the strongest at that radius on test inputs. Last the difference to that, in brackets its "
        f"{PERCENT} interval.",
    ]
    return markdown.table(names, lines, left=1) + bullets(notes + otherwise(lines))


def at_largest_sigma(test: Certified) -> set[Input]:
    """The inputs whose sigma is the largest that the policy may choose."""
    _, high = test.config.sigma_range
    return {one for one, sigma in test.sigma.items() if sigma >= high * (1 - 1e-9)}


def base_of(entry: Entry, fixed: Sequence[Entry], radius: float | None) -> Certified | None:
    """One sigma of the same classifier, or else of the same training, or else the strongest."""
    same = [one for one in fixed if one.test.digests == entry.test.digests]
    same += [one for one in fixed if (one.method, one.sigma) == (entry.method, entry.sigma)]
    base = next(iter(same), None) or best(fixed, radius, "test")
    return base.test if base else None


def without(
    test: Certified, base: Certified | None, radius: float | None, limit: set[Input]
) -> list[str]:
    """The figure of a row, that with inputs at the limit as in the base, and what it gains."""
    if base is None:
        return [NONE] * 3
    inputs = shared([test, base])
    ours, theirs = (one.scores(radius, inputs) for one in (test, base))
    if ours is None or theirs is None:
        return [NONE] * 3
    left = np.where([one in limit for one in inputs], theirs, ours)
    means = [figure_text(some.mean(), radius, [test]) for some in (ours, left)]
    mark = OTHERWISE * made_otherwise(test, base)
    return [*means, f"{(left - theirs).mean():+.3f} ({interval(left - theirs)}){mark}"]
