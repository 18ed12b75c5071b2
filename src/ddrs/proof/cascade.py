"""Cascades: what probability bounds at several noise levels prove together (docs/cascade.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import numpy.typing as npt

from ddrs.noise.distributions import Noise
from ddrs.proof.certificate import Evidence
from ddrs.proof.certify import proved_radius

__all__ = ["Plan", "best_level", "plan", "proving"]

Floats = Sequence[float]


def best_level(answers: Floats, passes: Floats) -> tuple[int, float]:
    """The level whose answer reaches farthest, and how far (docs/cascade.md, Theorem).

    The radius is max over k of min(a_k, b_1, ..., b_(k-1)): within it level k answers the class,
    and no level before it answers another one.

    Args:
        answers: a_k for each level: the distance within which it answers the class.
        passes: b_k for each level: the distance within which it answers no other class.

    Returns:
        Index of the level and the radius; the last level and 0 where nothing is proved.
    """
    best, radius, passed = len(answers) - 1, 0.0, inf
    for level, (answer, passing) in enumerate(zip(answers, passes, strict=True)):
        reached = min(answer, passed)
        if reached > radius:
            best, radius = level, reached
        passed = min(passed, passing)
    return best, radius


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be proved of one input.

    Attributes:
        selected: the class.
        depth: how many levels, from the first one, get estimation votes; the last of them is
            expected to answer, those before it to pass.
    """

    selected: int
    depth: int


def plan(counts: npt.NDArray[np.int64], sigmas: Floats, thresholds: Floats, noise: Noise) -> Plan:
    """The class and the depth that selection votes promise the largest radius to.

    Probabilities are estimated by (count + 1/2) / (n0 + 1), as the policies do. Where no level is
    expected to answer it is the class with the most votes of all, at the first level.

    Args:
        counts: `[levels, classes]` selection votes of one input.
        sigmas: noise scale of each level.
        thresholds: p0 of each level.
        noise: the smoothing distribution.
    """
    shares = (counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 1)
    settings = list(zip(sigmas, thresholds, strict=True))
    found, farthest = Plan(int(counts.sum(axis=0).argmax()), 1), 0.0
    for selected in dict.fromkeys(counts.argmax(axis=1).tolist()):
        others = np.delete(shares, selected, axis=1).max(axis=1)
        level, radius = best_level(
            [
                2 * noise.radius(sigma, float(p), p0)
                for p, (sigma, p0) in zip(shares[:, selected], settings, strict=True)
            ],
            [
                2 * noise.radius(sigma, p0, float(p))
                for p, (sigma, p0) in zip(others, settings, strict=True)
            ],
        )
        if radius > farthest:
            found, farthest = Plan(selected, level + 1), radius
    return found


def proving(levels: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The pieces of evidence that prove the largest radius, which is the least of theirs.

    Args:
        levels: of the levels that were voted on, in their order; the role of each is the one
            planned. With two-sided bounds any level may answer; with one-sided bounds, which are on
            the side of the role, only the one that was to.

    Returns:
        That of the level that answers, then those of the levels before it, which pass.
    """
    asked = [replace(level, role="answer") for level in levels]
    passed = [replace(level, role="pass") for level in levels]
    answers = [
        proved_radius(answer) if answer.bound == "two-sided" or answer == planned else 0.0
        for answer, planned in zip(asked, levels, strict=True)
    ]
    # The last level is never passed: what its votes would say of that is not asked.
    passes = [proved_radius(piece) for piece in passed[:-1]] + [0.0]
    best, _ = best_level(answers, passes)
    return asked[best], *passed[:best]
