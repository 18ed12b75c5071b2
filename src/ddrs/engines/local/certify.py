"""Certify a dataset into a run directory."""

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ddrs import data, models
from ddrs.data.dataset import Dataset
from ddrs.display.progress import ProgressBar
from ddrs.engines.local.groups import GroupSize
from ddrs.errors import DDRSError, InputError, ModelError, RunError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.evaluation.summary import summarise
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.checks import check_same_inputs, keeps_answer
from ddrs.memory.memory import Memory
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import NOISES, Noise
from ddrs.proof.certificate import Certificate
from ddrs.runs.directory import MEMORY_FILE, Row, Run
from ddrs.smoothing.alternatives import joint_digest
from ddrs.smoothing.classifier import SmoothedClassifier
from ddrs.version import __version__
from ddrs.votes.classifier import NoisyClassifier

__all__ = ["certify_run"]


def certify_run(job: CertifyJob, out: str | Path, *, quiet: bool = False) -> dict[str, Any]:
    """Certify a dataset into a run directory; go on where an earlier call stopped.

    Args:
        job: what to certify.
        out: the run directory.
        quiet: show no progress bar.

    Returns:
        The summary, which is also in `summary.json`.

    Raises:
        DDRSError: nothing was skipped and every row before the error is kept.
    """
    dataset = data.load(job.data, job.split)
    loaded = [
        models.load(spec, weights, num_classes=dataset.num_classes)
        for spec, weights in [
            (job.model, job.weights),
            *((each, None) for each in job.alternatives),
        ]
    ]
    classes = _check_fit(loaded, dataset)
    # A scale is a standard deviation or a half-width: one does not stand in for the other.
    trained = loaded[0].sigma if loaded[0].noise in (None, job.noise) else None
    policy = job.build_policy(trained)
    noise = NOISES[job.noise]
    trials = [
        NoisyClassifier(each.module, classes, noise, precision=job.precision, compile=job.compile)
        for each in loaded
    ]
    for trial in trials:
        with frozen(trial.model):
            trial.classify(dataset[0][0].unsqueeze(0))  # a model that does not fit fails here
    config = job.record(
        policy,
        inputs=min(len(dataset), job.limit or len(dataset)),
        num_classes=classes,
        model_digest=joint_digest([trial.digest for trial in trials]),
        version=__version__,
        **({"model_digests": [trial.digest for trial in trials]} if job.alternatives else {}),
    )
    with Run(out, config) as run:
        if run.summary is not None:
            return run.summary
        with _memory(job, run, noise) as memory:
            smoothed = SmoothedClassifier(
                [each.module for each in loaded],
                classes,
                sigma=policy,
                noise=noise,
                memory=memory,
                n0=job.n0,
                selection=job.selection,
                n=job.n,
                alpha=job.alpha,
                bound=job.bound,
                seed=run.config["seed"],
                batch_size=job.batch_size,
                precision=job.precision,
                compile=job.compile,
            )
            _certify_rest(smoothed, dataset, job, run, quiet)
            rows = run.rows()
            summary = summarise(
                rows,
                seconds=sum(row["seconds"] for row in rows),
                memory_entries=None if memory is None else len(memory),
                radii=sorted({*DEFAULT_RADII, *(job.at_radii or ())}),
                n_at_most=job.n,
                question=None if job.question is None else str(job.question),
            )
        run.finish(summary)
        return summary


def _certify_rest(
    smoothed: SmoothedClassifier, dataset: Dataset, job: CertifyJob, run: Run, quiet: bool
) -> None:
    """Certify the inputs that the run has no row for, group by group."""
    done = run.rows()
    check_same_inputs(done, dataset)
    if smoothed.memory is not None:
        if run.config["memory"] == "memory://":
            _remember_again(done, dataset, smoothed.memory)
        _check_remembered(done, dataset, smoothed.memory)
    total = int(run.config["inputs"])
    known = {int(row["index"]) for row in done}
    rest = [index for index in range(total) if index not in known]
    group = GroupSize()
    title = f"certify {dataset.name} ({run.config['policy']['name']})"
    votes_done = len(done) * smoothed.cost
    # The bar goes by the most votes that inputs can take: those that a question spares count too.
    unit = "votes" if job.question is None else "settled"
    with ProgressBar(title, total * smoothed.cost, unit, done=votes_done, quiet=quiet) as bar:
        smoothed.on_votes(bar.advance)
        while rest:
            bar.note(f"{total - len(rest)}/{total} inputs")
            indices, rest = rest[: group.now], rest[group.now :]
            start = time.perf_counter()
            rows = _certify_group(smoothed, dataset, job, indices)
            seconds = time.perf_counter() - start
            run.append({**row, "seconds": seconds / len(rows)} for row in rows)
            bar.reach((total - len(rest)) * smoothed.cost)
            group.took(seconds)
        bar.note(f"{total}/{total} inputs")


def _certify_group(
    smoothed: SmoothedClassifier, dataset: Dataset, job: CertifyJob, indices: Sequence[int]
) -> list[Row]:
    examples = [dataset[index] for index in indices]
    x = torch.stack([image for image, _ in examples])
    try:
        certificates = smoothed.certify(
            x, at_radii=job.at_radii, radius_tolerance=job.radius_tolerance
        )
        clean = smoothed.classify(x)
    except DDRSError as error:
        first, last = indices[0], indices[-1]
        raise type(error)(f"inputs {first} to {last} of {dataset.name}: {error}") from error
    return [
        _row(index, label, prediction, certificate)
        for index, (_, label), prediction, certificate in zip(
            indices, examples, clean.tolist(), certificates, strict=True
        )
    ]


def _row(index: int, label: int, clean: int, certificate: Certificate) -> Row:
    return {
        "index": index,
        "label": label,
        "correct": certificate.prediction == label,
        "clean_prediction": clean,
        **certificate.to_row(),
    }


def _check_fit(loaded: Sequence[models.LoadedModel], dataset: Dataset) -> int:
    """The number of classes, if the models and the dataset can go together."""
    classes = loaded[0].num_classes or dataset.num_classes
    if classes < dataset.num_classes:
        raise ModelError(
            f"{loaded[0].source} has {classes} classes but {dataset.name} has {dataset.num_classes}"
        )
    for each in loaded:
        if each.num_classes not in (None, classes):
            raise ModelError(
                f"{each.source} has {each.num_classes} classes but {loaded[0].source} has {classes}"
            )
        if each.input_shape is not None and tuple(each.input_shape) != dataset.shape:
            raise InputError(
                f"{each.source} takes inputs of shape {list(each.input_shape)} but those of "
                f"{dataset.name} have {list(dataset.shape)}"
            )
    return classes


def _remember_again(done: Iterable[Row], dataset: Dataset, memory: Memory) -> None:
    """Give the answers of an interrupted run to its memory, which went with the process."""
    for row in done:
        own = replace(
            Certificate.from_row(row),
            prediction=row["own_prediction"],
            radius=row["own_radius"],
            outcome="own" if row["own_radius"] else "abstained",
        )
        x, _ = dataset[row["index"]]
        memory.resolve(x, own.prediction, own.radius, evidence=own.to_json())


def _check_remembered(done: Iterable[Row], dataset: Dataset, memory: Memory) -> None:
    """Refuse to go on with a memory that does not hold every answer that the run gave."""
    for row in done:
        if not keeps_answer(memory, dataset[row["index"]][0], row):
            raise RunError(
                f"the memory does not hold the answer that this run gave for input {row['index']}: "
                "put the memory back as it was, or choose another --out"
            )


def _memory(job: CertifyJob, run: Run, noise: Noise) -> Any:
    """The memory of a run as a context manager; None where it is off."""
    where = run.config["memory"]
    if where == "none":
        return nullcontext()
    # The job's own URL may have a password in it, which is not recorded.
    url = f"sqlite:///{(run.path / MEMORY_FILE).resolve()}" if where == "run" else job.memory
    return Memory(url, norm=noise.norm, read_only=job.read_only)
