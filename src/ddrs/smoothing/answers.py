"""What a memory makes of the certificates that inputs got from their own votes."""

from collections.abc import Sequence
from dataclasses import replace

from torch import bfloat16

from ddrs.errors import StoreError
from ddrs.inputs import Point
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import Certificate
from ddrs.votes.requests import Inputs

__all__ = ["points", "recall", "resolve"]


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


def resolve(memory: Memory, inputs: Inputs, own: Sequence[Certificate]) -> list[Certificate]:
    """Let the memory store what own votes prove and, where it must, change it, in order.

    Args:
        memory: the regions so far.
        inputs: the inputs.
        own: one certificate per input, from its own votes.

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
    )
    return [
        certificate if resolution.outcome == "abstained" else _restored(resolution)
        for certificate, resolution in zip(own, resolutions, strict=True)
    ]


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
