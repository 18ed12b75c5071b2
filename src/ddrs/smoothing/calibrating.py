"""From votes on unlabelled inputs to a `Calibration`."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import floor, log
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, InputError
from ddrs.networks.frozen import frozen
from ddrs.networks.precision import Precision
from ddrs.noise.distributions import Gaussian, Noise
from ddrs.noise.keys import key
from ddrs.noise.streams import check_seed, fresh_seed
from ddrs.sigma.guard import Limit
from ddrs.sigma.policy import check_range
from ddrs.smoothing.calibration import CalibratedModel, Calibration, content_digest, last_allowed
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest

__all__ = ["VOTES", "calibrate", "calibrate_classifiers", "sigma_grid"]

RATIO = 2**0.25  # from one sigma of the grid to the next
VOTES = 8  # at each input and sigma
RESAMPLES = 1000
AT_ONCE = 50  # resamples that are held at once
TAIL = 0.025


def calibrate(
    model: nn.Module | NoisyClassifier | Sequence[nn.Module | NoisyClassifier],
    num_classes: int,
    x: Tensor,
    *,
    sigma: float | Sequence[float],
    noise: Noise = Gaussian(),
    low: float | None = None,
    high: float | None = None,
    votes: int = VOTES,
    seed: int | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
    identity: str | None = None,
) -> Calibration:
    """Find the largest sigma up to which a classifier does not give one class for everything.

    A few votes at each input and sigma tell the mean share of votes of every class
    (`smoothing.calibration`). It needs no labels, and comes before any certificate: use inputs that
    are not to be certified, so that what one input gets does not depend on others.

    Args:
        model: as in `SmoothedClassifier`; several are calibrated each by itself.
        num_classes: number of classes.
        x: `[inputs, *input]` unlabelled float tensor; a few hundred.
        sigma: the noise that the model was trained with; one for all, or one for each.
        noise: the smoothing distribution.
        low: least sigma to look at; the training noise by default. Nothing below it is limited.
        high: largest sigma to look at; four times the training noise by default, and never less
            than that noise.
        votes: votes at each input and sigma.
        seed: key of the noise; a fresh one by default.
        precision: as in `SmoothedClassifier`; part of the classifier's identity.
        compile: likewise.
        identity: likewise.

    Example:
        >>> import torch, ddrs
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> found = ddrs.calibrate(model, 2, torch.randn(50, 1, 2, 2), sigma=0.5, seed=0)
        >>> policy = ddrs.SearchSigma(0.5, calibration=found)

    Raises:
        ConfigurationError: an argument that can never work.
        InputError: `x` is not such a tensor, or empty.
        ModelError: a model failed.
    """
    models = model if isinstance(model, Sequence) else [model]
    sigmas = [float(sigma)] * len(models) if isinstance(sigma, int | float) else list(sigma)
    classifiers = [
        each
        if isinstance(each, NoisyClassifier)
        else NoisyClassifier(
            each, num_classes, noise, precision=precision, compile=compile, identity=identity
        )
        for each in models
    ]
    if seed is not None:
        check_seed(seed)
    inputs = Inputs.of(x, fresh_seed() if seed is None else seed)
    return calibrate_classifiers(classifiers, inputs, sigmas, low=low, high=high, votes=votes)


def calibrate_classifiers(
    classifiers: Sequence[NoisyClassifier],
    inputs: Inputs,
    sigmas: Sequence[float],
    *,
    low: float | None = None,
    high: float | None = None,
    votes: int = VOTES,
    data: str = "inputs of the caller",
) -> Calibration:
    """`calibrate` for classifiers and inputs that were made already.

    Args:
        classifiers: under one noise.
        inputs: the unlabelled inputs, with the seed.
        sigmas: the training noise of each classifier.
        low: as in `calibrate`.
        high: as in `calibrate`.
        votes: as in `calibrate`.
        data: where the inputs come from.
    """
    if not classifiers or len(sigmas) != len(classifiers):
        raise ConfigurationError(
            f"give one sigma for each of {len(classifiers)} models, got {len(sigmas)}"
        )
    if votes < 1:
        raise ConfigurationError(f"votes must be at least 1 at each input, got {votes}")
    if not len(inputs):
        raise InputError("there are no inputs to calibrate with: give a few hundred")
    start, models = time.perf_counter(), []
    for classifier, sigma in zip(classifiers, sigmas, strict=True):
        models.append(_calibrated(classifier, inputs, sigma, low, high, votes))
    seconds = time.perf_counter() - start
    made = Calibration(
        digest="",
        noise=classifiers[0].noise.name,
        limits=tuple(Limit(one.model_digest, one.high) for one in models),
        data=data,
        inputs=len(inputs),
        inputs_digest=hashlib.sha256("\n".join(inputs.digests).encode()).hexdigest(),
        models=tuple(models),
        votes=votes,
        seed=inputs.seed,
        cost=sum(len(one.grid) for one in models) * votes * len(inputs),
        seconds=seconds,
    )
    return replace(made, digest=content_digest(asdict(made)))


def sigma_grid(sigma: float, low: float | None = None, high: float | None = None) -> list[float]:
    """Rising sigmas, each 19 % above the one before, with `sigma` and the largest among them.

    Raises:
        ConfigurationError: unless 0 < low <= sigma <= high and all are finite.
    """
    low, high = check_range(sigma, sigma if low is None else low, high)
    down = floor(log(sigma / low) / log(RATIO) + 1e-9)
    up = floor(log(high / sigma) / log(RATIO) + 1e-9)
    grid = [float(sigma * RATIO**k) for k in range(-down, up + 1)]
    grid[down] = sigma
    # The last power may miss `high` by a rounding.
    if high > grid[-1] * (1 + 1e-9):
        grid.append(high)
    grid[-1] = high
    return grid


def _calibrated(
    classifier: NoisyClassifier,
    inputs: Inputs,
    sigma: float,
    low: float | None,
    high: float | None,
    votes: int,
) -> CalibratedModel:
    grid = sigma_grid(sigma, low, None if high is None else max(high, sigma))
    requests = [
        VoteRequest(row, value, votes, inputs.stream(row, f"calibration-{k}"))
        for row in range(len(inputs))
        for k, value in enumerate(grid)
    ]
    with frozen(classifier.model):
        classifier.check_unchanged()
        counts = classifier.count(inputs, requests)
    shares = counts.reshape(len(inputs), len(grid), -1) / votes
    start, mean = grid.index(sigma), shares.mean(axis=0)
    limits = _resampled(shares, start, key(inputs.seed, "calibration"))
    ends = np.quantile(limits, TAIL, method="lower"), np.quantile(limits, 1 - TAIL, method="higher")
    return CalibratedModel(
        model_digest=classifier.digest,
        sigma=sigma,
        grid=tuple(grid),
        shares=tuple(map(tuple, mean.tolist())),
        high=grid[int(last_allowed(mean, start))],
        interval=(grid[int(ends[0])], grid[int(ends[1])]),
    )


def _resampled(shares: npt.NDArray[Any], start: int, seed: int) -> npt.NDArray[np.int64]:
    """`[RESAMPLES]` positions of the limit for inputs drawn with replacement.

    Args:
        shares: `[inputs, sigmas, classes]` of each input.
        start: position of the training noise.
        seed: of the draws.
    """
    inputs = len(shares)
    rng = np.random.default_rng(seed)
    flat = shares.reshape(inputs, -1)
    found = []
    for _ in range(RESAMPLES // AT_ONCE):
        weights = rng.multinomial(inputs, np.full(inputs, 1 / inputs), size=AT_ONCE) / inputs
        found.append(last_allowed((weights @ flat).reshape(AT_ONCE, *shares.shape[1:]), start))
    return np.concatenate(found)
