"""The calibration of a certification: read, kept from before, or made from inputs it leaves out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ddrs import data
from ddrs.data.dataset import Dataset
from ddrs.data.split import SPLITS
from ddrs.display.progress import ProgressBar
from ddrs.errors import DataError
from ddrs.jobs.calibrate import INPUTS
from ddrs.jobs.certify import CertifyJob
from ddrs.noise.keys import key
from ddrs.runs.directory import read_config
from ddrs.runs.files import CALIBRATION, CONFIG
from ddrs.smoothing.calibrating import VOTES, calibrate_classifiers, sigma_grid
from ddrs.smoothing.calibration import Calibration
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

__all__ = ["as_calibrated", "calibrate_on", "calibration_for", "drawn"]

LEAST_INPUTS = 50  # fewer tell too little
SEED = 0  # a run has its own only once it is made; this one keys no certificate


def as_calibrated(job: CertifyJob, out: str | Path) -> CertifyJob:
    """The job as a run that is there was made: those of earlier versions have no calibration."""
    if job.calibration != "auto" or not (Path(out) / CONFIG).exists():
        return job
    made = read_config(out).get("calibration", "none")
    return replace(job, calibration="none") if made == "none" else job


def calibration_for(
    job: CertifyJob,
    dataset: Dataset,
    inputs: int,
    classifiers: Sequence[NoisyClassifier],
    sigmas: Sequence[float],
    out: str | Path,
    *,
    quiet: bool,
) -> Calibration | None:
    """What limits the sigma of a job; None where that is not asked for or not to be had.

    Args:
        job: what is to be certified.
        dataset: its data.
        inputs: how many of these are certified, from the first.
        classifiers: the base classifiers.
        sigmas: the noise that each was trained with.
        out: the run directory, which keeps the calibration.
        quiet: show no progress bar.

    Raises:
        DataError: the file is no calibration.
    """
    if job.calibration == "none":
        return None
    if job.calibration != "auto":
        return Calibration.load(job.calibration)
    kept = Path(out) / CALIBRATION
    if kept.exists():
        return Calibration.load(kept)
    found = _left_out(job, dataset, inputs)
    if found is None:
        return None
    others, indices = found
    name = f"{others.name}, split {others.split}, {len(indices)} inputs that are not certified"
    high = job.settings.get("high")
    return calibrate_on(others, indices, classifiers, sigmas, high=high, name=name, quiet=quiet)


def drawn(pool: Sequence[int], count: int, seed: int) -> list[int]:
    """At most `count` of the indices, rising, drawn by the seed."""
    order = np.random.default_rng(key(seed, "calibration inputs")).permutation(len(pool))
    return sorted(pool[int(place)] for place in order[:count])


def calibrate_on(
    dataset: Dataset,
    indices: Sequence[int],
    classifiers: Sequence[NoisyClassifier],
    sigmas: Sequence[float],
    *,
    name: str,
    high: float | None = None,
    votes: int = VOTES,
    seed: int = SEED,
    quiet: bool = False,
) -> Calibration:
    """Calibrate with these inputs of a dataset; arguments as in `calibrate_classifiers`."""
    inputs = Inputs.of(torch.stack([dataset[index][0] for index in indices]), seed)
    steps = [
        len(sigma_grid(sigma, high=None if high is None else max(high, sigma))) for sigma in sigmas
    ]
    with ProgressBar("calibrate", sum(steps) * votes * len(inputs), "votes", quiet=quiet) as bar:
        for classifier in classifiers:
            classifier.on_votes = bar.advance
        return calibrate_classifiers(classifiers, inputs, sigmas, high=high, votes=votes, data=name)


def _left_out(job: CertifyJob, dataset: Dataset, inputs: int) -> tuple[Dataset, list[int]] | None:
    """Inputs that are not certified: of the same split, or else of another one."""
    rest = range(inputs, len(dataset))
    if len(rest) >= LEAST_INPUTS:
        return dataset, drawn(rest, INPUTS, SEED)
    for split in SPLITS:
        if split == dataset.split:
            continue
        try:
            other = data.load(job.data, split, job.preparation)
        except DataError:
            continue
        if other.shape != dataset.shape or len(other) < LEAST_INPUTS:
            continue
        chosen = drawn(range(len(other)), INPUTS, SEED)
        # A source without parts gives the same inputs under any name.
        if any(i < len(dataset) and torch.equal(other[i][0], dataset[i][0]) for i in chosen):
            continue
        return other, chosen
    return None
