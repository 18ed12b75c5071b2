"""Calibrate the classifiers of a job, for `ddrs calibrate`."""

from ddrs import data
from ddrs.data.preparation import preparation_of
from ddrs.engines.local.calibrating import calibrate_on, drawn
from ddrs.engines.local.certify import load_classifiers
from ddrs.errors import ConfigurationError
from ddrs.jobs.calibrate import CalibrateJob
from ddrs.smoothing.calibration import Calibration

__all__ = ["calibrate_job"]


def calibrate_job(job: CalibrateJob, *, quiet: bool = False) -> Calibration:
    """Calibrate on inputs drawn from the dataset.

    Args:
        job: what to calibrate, and on what.
        quiet: show no progress bar.

    Raises:
        ConfigurationError: the training noise of a model is not known.
        DDRSError: data or models cannot be had, or a model failed.
    """
    dataset = data.load(job.data, job.split, preparation_of(job))
    classifiers, trained, _ = load_classifiers(job, dataset)
    sigmas = [sigma or job.sigma for sigma in trained]
    known = [sigma for sigma in sigmas if sigma is not None]
    if len(known) < len(sigmas):
        raise ConfigurationError("the training noise of a model is not known; give --sigma")
    return calibrate_on(
        dataset,
        drawn(range(len(dataset)), job.inputs, job.seed),
        classifiers,
        known,
        name=f"{job.data}, split {job.split}, {min(job.inputs, len(dataset))} inputs",
        high=job.high,
        votes=job.votes,
        seed=job.seed,
        quiet=quiet,
    )
