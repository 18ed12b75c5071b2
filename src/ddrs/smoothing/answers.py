"""What a memory makes of the certificates that inputs got from their own votes."""

from collections.abc import Sequence
from dataclasses import replace

from torch import bfloat16

from ddrs.errors import StoreError
from ddrs.inputs import Point
from ddrs.memory.abstentions import remembered
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.stopping import Estimation
from ddrs.proof.tries import alpha_left
from ddrs.votes.requests import Inputs

__all__ = ["left", "points", "recall", "resolve"]


def points(inputs: Inputs) -> list[Point]:
    """The inputs as the memory takes them, in their order; they are not hashed again."""
    x = inputs.x.cpu()
    rows = (x.float() if x.dtype == bfloat16 else x).numpy()  # NumPy has no bfloat16
    return [Point.of(row, digest=digest) for row, digest in zip(rows, inputs.digests, strict=True)]


def recall(memory: Memory, inputs: Inputs) -> dict[int, Certificate]:
    """The certificates of those inputs that were answered before, by their row.

    Raises:
        StoreError: the memory cannot be read, or what it holds for an input has no certificate.
    """
    stored = {row: memory.recall(point) for row, point in enumerate(points(inputs))}
    return {row: _restored(known) for row, known in stored.items() if known is not None}


def left(
    memory: Memory, inputs: Inputs, estimation: Estimation
) -> tuple[dict[int, Certificate], dict[Estimation, list[int]]]:
    """What earlier tries at the inputs leave: abstentions that stand, or a share of alpha.

    Args:
        memory: remembers the tries.
        inputs: the inputs.
        estimation: what is asked for; its votes can prove something.

    Returns:
        The certificates of inputs that may not be tried again, by their row; and the estimations
        that the others may have, each with its rows. Where nothing was tried it is the one asked
        for.

    Raises:
        StoreError: the memory cannot be read.
    """
    tried = memory.tried(inputs.digests)
    standing: dict[int, Certificate] = {}
    shares: dict[Estimation, list[int]] = {}
    for row, digest in enumerate(inputs.digests):
        tries = tried.get(digest)
        share = alpha_left(estimation.alpha, tries[-1].spent) if tries else estimation.alpha
        if share and (possible := replace(estimation, alpha=share)).is_possible():
            shares.setdefault(possible, []).append(row)
        else:
            evidence = remembered(tries or [], estimation.alpha).evidence
            standing[row] = _restored(Resolution(ABSTAIN, 0.0, "abstained", evidence))
    return standing, shares


def resolve(
    memory: Memory, inputs: Inputs, own: Sequence[Certificate], asked: float
) -> list[Certificate]:
    """Let the memory store what own votes prove and, where it must, change it, in order.

    Args:
        memory: the regions so far.
        inputs: the inputs.
        own: one certificate per input, from its own votes.
        asked: the alpha that was asked for, which all tries at one input share.

    Returns:
        One certificate per input; every answer is durable.

    Raises:
        StoreError: the memory cannot be read or written; nothing is stored.
    """
    resolutions = memory.resolve_many(
        points(inputs),
        [certificate.own_prediction for certificate in own],
        [certificate.own_radius for certificate in own],
        evidence=[certificate.to_json() for certificate in own],
        alphas=[certificate.alpha for certificate in own],
        asked=asked,
    )
    return [_restored(resolution) for resolution in resolutions]


def _restored(resolution: Resolution) -> Certificate:
    """The certificate of a stored answer: its evidence, with the memory's verdict on it."""
    if resolution.evidence is None:
        raise StoreError(
            "the memory holds an answer for this input that no classifier stored; certify with a "
            "memory that only this classifier writes"
        )
    return replace(
        Certificate.from_json(resolution.evidence),
        prediction=resolution.prediction,
        radius=resolution.radius,
        outcome=resolution.outcome,
    )
