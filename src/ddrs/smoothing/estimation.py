"""Estimation votes, drawn until each input is settled."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ddrs.proof.stopping import Estimation, settled
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["estimate"]


def estimate(
    classifier: NoisyClassifier,
    inputs: Inputs,
    sigma: npt.NDArray[np.float64],
    selected: npt.NDArray[np.int64],
    estimation: Estimation,
) -> npt.NDArray[np.int64]:
    """`[batch, num_classes]` estimation votes of every input, until it is settled.

    The votes of an input are the first ones of one random stream, so fewer of them are a prefix of
    more, and its result does not depend on the others; those that go on share full batches.

    Args:
        classifier: the base classifier, frozen.
        inputs: the inputs.
        sigma: `[batch]` noise scales.
        selected: `[batch]` classes to certify, selected on other votes.
        estimation: how many votes, and when to stop.

    Raises:
        ModelError: see `NoisyClassifier.scores`.
    """
    counts = np.zeros((len(inputs), classifier.num_classes), dtype=np.int64)
    active = [
        VoteRequest(row, float(sigma[row]), 0, inputs.stream(row, "estimation"))
        for row in range(len(inputs))
    ]
    for before, seen in pairwise((0, *estimation.times)):
        for request in active:
            request.n = seen - before
        counts[[request.row for request in active]] += classifier.count(inputs, active)
        active = [
            request
            for request in active
            if not settled(
                counts[request.row],
                int(selected[request.row]),
                sigma=request.sigma,
                noise=classifier.noise,
                estimation=estimation,
            )
        ]
        if not active:
            break
    return counts
