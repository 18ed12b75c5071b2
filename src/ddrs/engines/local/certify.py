"""Certify a dataset into a run directory."""

import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from ddrs import data, models
from ddrs.data.dataset import Dataset
from ddrs.display.progress import ProgressBar
from ddrs.engines.local.calibrating import as_calibrated, calibration_for
from ddrs.engines.local.groups import GroupSize
from ddrs.engines.local.labels import label_classes
from ddrs.errors import DDRSError, DDRSWarning, InputError, ModelError, RunError
from ddrs.evaluation.chance import chance_note
from ddrs.evaluation.summary import summarise
from ddrs.jobs.calibrate import CalibrateJob
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.checks import check_same_data, check_same_inputs, keeps_answer
from ddrs.jobs.config import CertifyConfig
from ddrs.jobs.null import null_accuracy
from ddrs.memory.memory import Memory
from ddrs.networks.forward import Forward, count_classes
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import NOISES
from ddrs.runs.directory import Run
from ddrs.runs.files import CALIBRATION
from ddrs.runs.rows import CertifiedRow
from ddrs.runs.summary import Summary
from ddrs.runs.table import read_summary
from ddrs.smoothing.alternatives import Alternatives
from ddrs.smoothing.cascade import LevelClassifiers
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels
from ddrs.smoothing.method import Method
from ddrs.smoothing.routed import CellClassifiers
from ddrs.votes.classifier import NoisyClassifier

__all__ = ["certify_run", "load_classifiers", "load_router"]


def certify_run(job: CertifyJob, out: str | Path, *, quiet: bool = False) -> Summary:
    """Certify a dataset into a run directory; go on where an earlier call stopped.

    Args:
        job: what to certify.
        out: the run directory.
        quiet: show no progress bar.

    Returns:
        The summary, which is also in `summary.json`.

    Raises:
        DDRSError: nothing was skipped and every row before the error is kept.

    Warns:
        DDRSWarning: nothing says which classes the labels are, or answers without noise are near
            chance.
    """
    dataset = data.load(job.data, job.split, job.preparation)
    job = as_calibrated(job, out)
    inputs = min(len(dataset), job.limit or len(dataset))
    classifiers, trained, names = load_classifiers(job, dataset)
    classes = label_classes(job, dataset, names, classifiers[0].num_classes, out)
    if classes is not None:
        dataset = dataset.renumbered(classes, classifiers[0].num_classes)
    policy = job.build_policy(trained[0])
    calibration = None
    bases: Alternatives | LevelClassifiers | CellClassifiers
    if isinstance(policy, Levels):
        bases = LevelClassifiers(classifiers, policy)
    elif isinstance(policy, Cells):
        bases = CellClassifiers([*classifiers, load_router(job, policy, dataset)], policy)
    else:
        sigmas = [each or policy.initial for each in trained]
        calibration = calibration_for(job, dataset, inputs, classifiers, sigmas, out, quiet=quiet)
        if calibration is not None:
            policy = replace(cast(Any, policy), calibration=calibration)
        bases = Alternatives(classifiers, policy, job.n0, job.selection)
    digest = dataset.digest(inputs)
    config = CertifyConfig.of(job, bases, inputs, digest, classes)
    with Run(out, config) as run:
        if calibration is not None:
            calibration.save(run.path / CALIBRATION)
        finished = read_summary(run.path)
        if finished is None:
            check_same_inputs(run.rows(), dataset)  # says which one, where it can
        check_same_data(run.config.data_digest, digest, dataset.name)
        if finished is not None:
            _note_chance(run)
            return finished
        with _open_memory(job, run) as memory:
            smoothed = run.config.classifier(bases.classifiers, memory)
            _check_what_is_done(run, dataset, memory)
            _certify_rest(smoothed, dataset, run, quiet)
            entries = None if memory is None else len(memory)
        summary = _summary(run, entries, dataset)
        run.finish(summary)
        _note_chance(run)
        return summary


def load_classifiers(
    job: CertifyJob | CalibrateJob, dataset: Dataset
) -> tuple[list[NoisyClassifier], list[float | None], list[tuple[str, ...] | None]]:
    """The classifiers of a job, tried on one input.

    With them come the noise that each was trained with, and the names of its classes.

    Raises:
        DDRSError: one cannot be loaded, or does not go with the data.
    """
    specs = [(job.model, job.weights), *((spec, None) for spec in job.alternatives)]
    loaded = [_counted(models.load(spec, weights), job, dataset) for spec, weights in specs]
    classes = _check_fit(loaded, dataset)
    # A sigma is a standard deviation or a half-width: one does not stand in for the other.
    trained = [each.sigma if each.noise in (None, job.noise) else None for each in loaded]
    return (
        [_noisy(each, classes, job, dataset) for each in loaded],
        trained,
        [each.classes for each in loaded],
    )


def load_router(job: CertifyJob, cells: Cells, dataset: Dataset) -> NoisyClassifier:
    """The router of a job, tried on one input.

    Raises:
        DDRSError: it cannot be loaded, or goes neither with the data nor with the cells.
    """
    assert cells.router is not None  # the job was checked
    loaded = _counted(models.load(cells.router), job, dataset)
    _check_shape(loaded, dataset)
    assert loaded.num_classes is not None
    return _noisy(loaded, loaded.num_classes, job, dataset)


def _noisy(
    loaded: models.LoadedModel, classes: int, job: CertifyJob | CalibrateJob, dataset: Dataset
) -> NoisyClassifier:
    """The model under the noise of a job; one that does not fit the data fails here."""
    classifier = NoisyClassifier(
        loaded.module,
        classes,
        NOISES[job.noise],
        batch_size=job.batch_size,
        precision=job.precision,
        compile=job.compile,
        identity=job.identity,
    )
    with frozen(classifier.model):
        classifier.classify(dataset[0][0].unsqueeze(0))
    return classifier


def _counted(
    loaded: models.LoadedModel, job: CertifyJob | CalibrateJob, dataset: Dataset
) -> models.LoadedModel:
    """The model with its number of classes, which one forward pass tells where nothing else does.

    A dataset may have fewer: it says no more than which classes its inputs are of.
    """
    if loaded.num_classes is not None:
        return loaded
    tensors = [*loaded.module.parameters(), *loaded.module.buffers()]
    x = dataset[0][0].unsqueeze(0).to(tensors[0].device if tensors else "cpu")
    classes = count_classes(Forward(loaded.module, job.precision), x)
    return replace(loaded, num_classes=classes)


def _check_fit(loaded: Sequence[models.LoadedModel], dataset: Dataset) -> int:
    """The number of classes, if the models and the dataset can go together."""
    classes = loaded[0].num_classes
    assert classes is not None  # counted by now
    if classes < dataset.num_classes:
        raise ModelError(
            f"{loaded[0].source} has {classes} classes but {dataset.name} has {dataset.num_classes}"
        )
    for each in loaded:
        if each.num_classes != classes:
            raise ModelError(
                f"{each.source} has {each.num_classes} classes but {loaded[0].source} has {classes}"
            )
        _check_shape(each, dataset)
    return classes


def _check_shape(loaded: models.LoadedModel, dataset: Dataset) -> None:
    """Refuse a model that is known to take inputs of another shape."""
    if loaded.input_shape is not None and tuple(loaded.input_shape) != dataset.shape:
        raise InputError(
            f"{loaded.source} takes inputs of shape {list(loaded.input_shape)} but those of "
            f"{dataset.name} have {list(dataset.shape)}"
        )


def _open_memory(job: CertifyJob, run: Run[CertifyConfig]) -> AbstractContextManager[Memory | None]:
    """The memory of a run, or None where it is off."""
    config = run.config
    if config.memory == "none":
        return nullcontext()
    # The job's own URL may have a password in it, which is not recorded.
    url = config.memory_url(run.path) if config.memory == "run" else job.memory
    return Memory(url, norm=config.smoothing_noise.norm, read_only=config.read_only)


def _check_what_is_done(run: Run[CertifyConfig], dataset: Dataset, memory: Memory | None) -> None:
    """Refuse to go on with a memory that lost an answer of this run."""
    if memory is None:
        return
    done = run.rows()
    if run.config.memory == "memory://":
        _remember_again(done, dataset, memory)
    for row in done:
        if not keeps_answer(memory, dataset[row.index][0], row.certificate):
            raise RunError(
                f"the memory does not hold the answer that this run gave for input {row.index}: "
                "put the memory back as it was, or choose another --out"
            )


def _remember_again(done: Iterable[CertifiedRow], dataset: Dataset, memory: Memory) -> None:
    """Give the answers of an interrupted run to its memory, which went with the process."""
    for row in done:
        own = replace(
            row.certificate,
            prediction=row.certificate.own_prediction,
            radius=row.certificate.own_radius,
            outcome="own" if row.certificate.own_radius else "abstained",
        )
        x, _ = dataset[row.index]
        memory.resolve(
            x, own.prediction, own.radius, evidence=own.to_json(), alpha=own.alpha, asked=own.alpha
        )


def _certify_rest(smoothed: Method, dataset: Dataset, run: Run[CertifyConfig], quiet: bool) -> None:
    """Certify the inputs that the run has no row for, group by group."""
    config = run.config
    done = {row.index for row in run.rows()}
    rest = [index for index in range(config.inputs) if index not in done]
    group = GroupSize()
    title = f"certify {dataset.name} ({config.policy_name})"
    # The bar goes by the most votes that inputs can take: those that stopping early spares count.
    unit = "votes" if config.estimation.stopping is None else "settled"
    total, spent = config.inputs * smoothed.cost, len(done) * smoothed.cost
    with ProgressBar(title, total, unit, done=spent, quiet=quiet) as bar:
        smoothed.on_votes(bar.advance)
        while rest:
            bar.note(f"{config.inputs - len(rest)}/{config.inputs} inputs")
            indices, rest = rest[: group.size], rest[group.size :]
            start = time.perf_counter()
            rows = _certify_group(smoothed, dataset, config, indices)
            seconds = time.perf_counter() - start
            run.append(replace(row, seconds=seconds / len(rows)) for row in rows)
            bar.reach((config.inputs - len(rest)) * smoothed.cost)
            group.record(seconds)
        bar.note(f"{config.inputs}/{config.inputs} inputs")


def _certify_group(
    smoothed: Method, dataset: Dataset, config: CertifyConfig, indices: Sequence[int]
) -> list[CertifiedRow]:
    examples = [dataset[index] for index in indices]
    x = torch.stack([image for image, _ in examples])
    try:
        certificates = smoothed.certify(
            x, at_radii=config.at_radii, radius_tolerance=config.radius_tolerance
        )
        clean = smoothed.classify(x).tolist()
    except DDRSError as error:
        where = f"inputs {indices[0]} to {indices[-1]} of {dataset.name}"
        raise error.saying(f"{where}: {error}") from error.__cause__
    return [
        CertifiedRow(
            index=index,
            label=label,
            correct=None if label is None else certificate.prediction == label,
            clean_prediction=prediction,
            certificate=certificate,
        )
        for index, (_, label), prediction, certificate in zip(
            indices, examples, clean, certificates, strict=True
        )
    ]


def _note_chance(run: Run[CertifyConfig]) -> None:
    note = chance_note(run.rows(), run.config.num_classes)
    if note is not None:
        warnings.warn(note, DDRSWarning, stacklevel=3)


def _summary(run: Run[CertifyConfig], memory_entries: int | None, dataset: Dataset) -> Summary:
    rows, settings = run.rows(), run.config.summary_settings
    norm = run.config.smoothing_noise.norm
    remembered = memory_entries is not None
    return summarise(
        rows,
        seconds=sum(row.seconds or 0.0 for row in rows),
        memory_entries=memory_entries,
        null=null_accuracy(rows, dataset, norm, settings["radii"]) if remembered else None,
        **settings,
    )
