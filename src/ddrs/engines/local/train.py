"""Train a base classifier into a run directory, or say how long that would take."""

import io
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from ddrs import data, models
from ddrs.data.dataset import Dataset
from ddrs.display.progress import ProgressBar, duration
from ddrs.errors import DataError, RunError
from ddrs.files import write
from ddrs.jobs.train import TrainJob
from ddrs.jobs.train_config import TrainingResult, TrainRunConfig
from ddrs.networks.identity import model_digest
from ddrs.runs.directory import Run
from ddrs.runs.summary import TrainingSummary
from ddrs.runs.table import read_training_summary
from ddrs.training.checkpoint import read_sigmas
from ddrs.training.epochs.log import EpochLog
from ddrs.training.estimates import Estimate, estimate_time
from ddrs.training.loop import NOT_FINITE_FILE, train
from ddrs.training.metrics import EpochMetrics, best_epoch
from ddrs.training.objectives.objective import Objective
from ddrs.training.splits import held_out
from ddrs.training.workers import Workers
from ddrs.version import __version__

__all__ = ["dry_run", "train_run"]

CHECKPOINT_FILE, SIGMAS_FILE = "checkpoint.pt", "sigmas.npy"
LIBRARIES = ("torch", "numpy", "accelerate", "transformers")


def train_run(
    job: TrainJob,
    out: str | Path,
    *,
    quiet: bool = False,
    on_message: Callable[[str], None] = lambda text: None,
) -> TrainingSummary:
    """Train into a run directory that `models.load` reads; go on where an earlier call stopped.

    Several processes that make the same call train together; the first one writes.

    Args:
        job: what to train.
        out: the run directory.
        quiet: show no progress bar.
        on_message: called with what a user should know before the training starts.

    Returns:
        The summary, which is also in `summary.json`.

    Raises:
        DDRSError: the last checkpoint is kept.
    """
    dataset = _load_data(job)
    start = _start(job, dataset)
    config = TrainRunConfig(
        data=job.data,
        rgb=job.rgb,
        resize=job.resize,
        crop=job.crop,
        arch=start.arch,
        num_classes=dataset.num_classes,
        input_shape=tuple(dataset.shape),
        examples=len(dataset),
        init=job.init,
        partial_init=job.partial_init,
        start_digest=model_digest(start.module, "fp32"),
        training=job.training,
        version=__version__,
    )
    workers = Workers()
    first = workers.rank == 0
    with workers.together(), Run(out, config) if first else nullcontext() as run:
        finished = None if run is None else read_training_summary(run.path)
        if workers.total(torch.tensor([int(finished is not None)])).item():
            return _of_finished(Path(out), run)
        if start.report and first:
            on_message(start.report)
        with (
            EpochLog(Path(out), sigma_bounds=job.training.sigma_bounds)
            if first
            else nullcontext() as log
        ):
            history = _train(start.module, dataset, job, Path(out), log, quiet=quiet)
        summary = _summary(history, dataset, job, start.module)
        if run is not None:
            _write(run, start, job.training.objective(), summary)
        return summary


def dry_run(job: TrainJob) -> Estimate:
    """Say how long a training would take here, after a few of its steps; nothing is written.

    Raises:
        DDRSError: the training could not start either.
    """
    dataset = _load_data(job)
    return estimate_time(_start(job, dataset).module, dataset, job.training)


def _load_data(job: TrainJob) -> Dataset:
    dataset = data.load(job.data, "train", job.preparation)
    if not dataset.labelled:
        raise DataError(f"{job.data} has no labels, which training needs: sort it into classes")
    return dataset


def _start(job: TrainJob, dataset: Dataset) -> models.Start:
    torch.manual_seed(job.training.seed)  # the random start of the weights
    return models.start(
        job.arch, job.init, num_classes=dataset.num_classes, partial=job.partial_init
    )


def _train(
    model: nn.Module,
    dataset: Dataset,
    job: TrainJob,
    out: Path,
    log: EpochLog | None,
    *,
    quiet: bool,
) -> list[EpochMetrics]:
    """Train with a bar for each epoch, which the process that writes shows, and a log."""
    epochs = job.training.epochs
    count = len(dataset) - held_out(len(dataset), job.training.validation)
    with ProgressBar(f"epoch 1/{epochs}", count, "img", quiet=quiet or log is None) as bar:

        def show(metrics: EpochMetrics) -> None:
            if log is not None:
                log.add(metrics)
            left = epochs - metrics.epoch - 1
            bar.restart(f"epoch {epochs - max(0, left - 1)}/{epochs}", count)
            if not left:
                bar.reach(count)
            bar.note(_in_words(metrics, left))

        return train(
            model,
            dataset,
            job.training,
            checkpoint=out / CHECKPOINT_FILE,
            on_batch=bar.advance,
            on_epoch=show,
        )


def _in_words(metrics: EpochMetrics, left: int) -> str:
    """An epoch that is over, and how long `left` more of its kind take."""
    held_out = metrics.validation_accuracy
    accuracy = metrics.noisy_accuracy if held_out is None else held_out
    more = f", {duration(left * metrics.seconds)} more" if left else ""
    return f"loss {metrics.loss:.3f}, accuracy {accuracy:.3f}{more}"


def _summary(
    history: Sequence[EpochMetrics], dataset: Dataset, job: TrainJob, model: nn.Module
) -> TrainingSummary:
    best = history[best_epoch(history)]
    return TrainingSummary(
        epochs=len(history),
        examples=len(dataset),
        held_out=held_out(len(dataset), job.training.validation),
        best_epoch=best.epoch,
        loss=best.loss,
        noisy_accuracy=best.noisy_accuracy,
        validation_accuracy=best.validation_accuracy,
        seconds=sum(epoch.seconds for epoch in history),
        model_digest=model_digest(model, "fp32"),
    )


def _of_finished(path: Path, run: Run[TrainRunConfig] | None) -> TrainingSummary:
    """The summary of a run that was there already; the process that writes tidies up first."""
    if run is not None:
        _clear(path)
    summary = read_training_summary(path)
    if summary is None:
        raise RunError(f"{path} was finished, and its summary is gone: run the same command again")
    return summary


def _write(
    run: Run[TrainRunConfig],
    start: models.Start,
    objective: Objective,
    summary: TrainingSummary,
) -> None:
    """Write the model and what describes it; the summary, which says that all is there, last."""
    checkpoint = run.path / CHECKPOINT_FILE
    table = io.BytesIO()
    np.save(table, read_sigmas(checkpoint).numpy())
    models.save_architecture(start.module, run.path / models.ARCHITECTURE_FOLDER)
    # Copies, because the format holds no two tensors that share their storage.
    weights = {name: value.clone() for name, value in start.module.state_dict().items()}
    write(run.path / models.WEIGHTS_FILE, safetensors.torch.save(weights), "weights")
    write(run.path / SIGMAS_FILE, table.getvalue(), "sigmas")
    versions = {"python": platform.python_version(), "ddrs": __version__}
    versions |= {name: version(name) for name in LIBRARIES if name in sys.modules}
    run.write_result(
        TrainingResult(
            start=start.report,
            objective=asdict(objective),
            versions=versions,
            summary=summary,
        )
    )
    run.write_summary(summary)
    _clear(run.path)


def _clear(path: Path) -> None:
    """Delete what only a training that is under way needs; a kill may have come before."""
    for name in (CHECKPOINT_FILE, NOT_FINITE_FILE):
        (path / name).unlink(missing_ok=True)
