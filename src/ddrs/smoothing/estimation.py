"""Estimation votes until a question is settled: fewer for most inputs."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ddrs.noise.distributions import Noise
from ddrs.proof.bounds import Bound
from ddrs.proof.certify import certify
from ddrs.proof.stopping import Question, attainable, look_times
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["sample"]


def sample(
    classifier: NoisyClassifier,
    inputs: Inputs,
    sigmas: npt.NDArray[np.float64],
    selected: npt.NDArray[np.int64],
    question: Question | None,
    *,
    n: int,
    alpha: float,
    bound: Bound,
) -> npt.NDArray[np.int64]:
    """`[batch, num_classes]` estimation votes of every input, until its question is settled.

    The votes of an input are the first ones of one random stream, so fewer of them are a prefix of
    more, and its result does not depend on the others; those that go on share full batches.

    Args:
        classifier: the base classifier, frozen.
        inputs: the inputs.
        sigmas: `[batch]` noise scales.
        selected: `[batch]` classes to certify, selected on other votes.
        question: when to stop; None for `n` votes.
        n: the most votes an input.
        alpha: failure probability of one certificate.
        bound: `"one-sided"` or `"two-sided"`.

    Raises:
        ModelError: see `NoisyClassifier.scores`.
    """
    times = look_times(n, question)
    counts = np.zeros((len(inputs), classifier.num_classes), dtype=np.int64)
    active = [
        VoteRequest(row, float(sigma), 0, inputs.stream(row, "estimation"))
        for row, sigma in enumerate(sigmas)
    ]

    for before, seen in pairwise((0, *times)):
        for request in active:
            request.n = seen - before
        counts[[request.row for request in active]] += classifier.count(inputs, active)
        if question is None or seen == n:
            break
        active = [
            request
            for request in active
            if not _settled(
                question,
                counts[request.row],
                int(selected[request.row]),
                n,
                sigma=request.sigma,
                noise=classifier.noise,
                alpha=alpha,
                bound=bound,
                looks=len(times),
            )
        ]
        if not active:
            break
    return counts


def _settled(
    question: Question,
    counts: npt.NDArray[np.int64],
    selected: int,
    n: int,
    *,
    sigma: float,
    noise: Noise,
    alpha: float,
    bound: Bound,
    looks: int,
) -> bool:
    """Whether the votes so far, `[classes]`, settle the question for one input."""
    claim = certify(
        counts, selected, sigma=sigma, noise=noise, alpha=alpha, bound=bound, looks=looks
    )
    best = attainable(
        claim,
        int(counts.sum()),
        n,
        sigma=sigma,
        noise=noise,
        alpha=alpha,
        bound=bound,
        looks=looks,
    )
    return question.settled(claim.radius, best)
