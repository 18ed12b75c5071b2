"""Check a finished run, or a memory, without trusting what wrote it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.errors import ConfigurationError, DataError, DDRSError, RunError
from ddrs.evaluation.comparison import other_settings
from ddrs.evaluation.summary import counted_settings, summarise
from ddrs.finished.judging import EvidenceOf, one_input_faults, row_faults
from ddrs.finished.reading import FinishedRun, read_finished
from ddrs.inputs import input_digest
from ddrs.jobs.checks import keeps_answer
from ddrs.jobs.ways import STATELESS
from ddrs.memory.audit import AuditReport, Violation
from ddrs.memory.memory import Memory
from ddrs.memory.store.urls import parse_url, shown_url
from ddrs.proof.check import TOLERANCE
from ddrs.runs.files import CALIBRATION, CONFIG
from ddrs.runs.table import summary_json
from ddrs.smoothing.calibration import Calibration
from ddrs.smoothing.joint import joint_digest

if TYPE_CHECKING:  # it loads torch
    from ddrs.data.dataset import Dataset

__all__ = ["audit_memory", "audit_run"]

LATER = frozenset(["null", "wrong", "discounted", "discounted_acr", "start", "calibration"])
"""Figures of a summary that came with the digest of the data."""


def audit_memory(url: str) -> AuditReport:
    """Audit a memory that exists (`Memory.audit`), and the counts behind each of its regions.

    A memory of several classifiers has the digest of all together only, so that certificates of
    any others would pass: the report is not `whole` unless those of its entries make that digest.

    Raises:
        StoreError: there is none at this URL, or it cannot be read.
    """
    with Memory(url, norm=None, read_only=True) as memory:
        evidence = EvidenceOf(memory.norm, memory.about().get("model_digest"))
        report = memory.audit(evidence)
    strangers = [Violation("evidence", (entry,), fault) for entry, fault in evidence.strangers()]
    return replace(
        report, violations=(*report.violations, *strangers), whole=evidence.classifiers_known
    )


def audit_run(path: str | Path, memory: str | None = None, data: str | None = None) -> AuditReport:
    """Audit a finished run directory of `ddrs certify`.

    Every radius is recomputed from its counts, every row is held against the run's classifier and
    settings, every figure of the summary but the time against the rows, and every answer against
    the memory of the run, which is audited too.

    A run may come from a stranger, so no server is connected to because its `config.json` says so:
    only a memory in a file is opened. One on a server has to be named here; else the report is not
    `whole`.

    Args:
        path: the run directory.
        memory: URL of the run's memory, as it is recorded; it may have a password beside that.
        data: spec of the dataset that was certified, to compare inputs and labels with; None
            compares neither.

    Raises:
        ConfigurationError: `memory` is not that of the run, or is gone with its process.
        RunError: not a run directory, not finished, or not readable; or a run with a read-only
            memory without its data.
        DataError: `data` cannot be read.
        StoreError: its memory is gone or cannot be read.
    """
    run = read_finished(Path(path))
    url = _memory_url(run, memory)
    violations = [
        Violation(kind, (row.index,), fault)
        for row in run.rows
        for kind, fault in row_faults(row, run.config)
    ]
    policy = run.config.policy
    joint = policy.joint_digest if isinstance(policy, STATELESS) else joint_digest
    if joint(run.config.model_digests) != run.config.model_digest:
        fault = "its model_digest is not that of its model_digests together"
        violations.append(Violation("configuration", (), fault))
    violations += [Violation("configuration", (), fault) for fault in _calibration_faults(run)]
    inputs = run.config.inputs
    indices = sorted(row.index for row in run.rows)
    if len(indices) != inputs or indices != list(range(inputs)):
        violations.append(
            Violation("rows", (), f"the rows are not inputs 0 to {inputs - 1}, each once")
        )
    violations += [Violation("rows", rows, fault) for rows, fault in one_input_faults(run.rows)]
    null, null_known = None, run.config.memory == "none"
    if data is not None:
        from ddrs.data.loading import load  # it loads torch
        from ddrs.jobs.null import null_accuracy

        dataset = run.renumbered(load(data, run.config.split, run.config.preparation))
        found = list(_data_violations(dataset, run))
        violations += found
        recorded = run.config.data_digest
        if not found and recorded not in (None, dataset.digest(len(run.rows))):
            fault = "its data_digest is not that of the data"
            violations.append(Violation("data", (), fault))
        if not found and not null_known:
            norm, radii = run.config.smoothing_noise.norm, run.config.summary_settings["radii"]
            null, null_known = null_accuracy(run.rows, dataset, norm, radii), True
    entries = None
    if url is not None:
        with Memory(url, norm=None, read_only=True) as opened:
            violations += _memory_violations(opened, run)
            entries = len(opened)
    summary_faults = _summary_faults(run, entries, null, null_known=null_known)
    violations += [Violation("summary", (), fault) for fault in summary_faults]
    whole = url is not None or run.config.memory == "none"
    return AuditReport(tuple(violations), len(run.rows), whole, tuple(_notes(run, data)))


def _calibration_faults(run: FinishedRun) -> Iterator[str]:
    """Where the limits of a run are not those of its classifiers, noise and calibration."""
    guard = run.config.guard
    if guard is not None:
        known = {limit.model_digest for limit in guard.limits}
        if guard.noise != run.config.noise or not known >= {*run.config.model_digests}:
            yield "its calibration is of other classifiers, or of other noise"
    file = run.path / CALIBRATION
    if file.exists() or file.is_symlink():
        try:
            kept = Calibration.load(file).guard
        except DataError as error:
            yield str(error)
            return
        if kept != guard:
            yield f"its limits are not those of its {CALIBRATION}"


def _data_violations(dataset: "Dataset", run: FinishedRun) -> Iterator[Violation]:
    """Where a row is not of the input and the label that the data have at its place."""
    for row in run.rows:
        if row.index >= len(dataset):
            yield Violation("data", (row.index,), f"the data have {len(dataset)} inputs only")
            continue
        x, label = dataset[row.index]
        if row.certificate.input_digest != input_digest(x.numpy()):
            yield Violation("data", (row.index,), "its input is not the one in the data")
        if row.label != label:
            message = f"its label is {row.label}, that in the data {label}"
            yield Violation("data", (row.index,), message)


def _notes(run: FinishedRun, data: str | None) -> Iterator[str]:
    """What one has to know beside whether the run is sound."""
    if data is None:
        what = "labels and inputs" if run.config.memory == "none" else "labels, inputs and the null"
        yield f"{what} were not compared with the data: give --data SPEC"
    repeated = len(run.rows) - len({row.certificate.input_digest for row in run.rows})
    if repeated:
        yield f"{repeated} of {len(run.rows)} rows repeat the input of another row"
    if not run.config.memory_is_its_own:
        found = counted_settings((row.certificate for row in run.rows), run.config.differences)
        if found:
            yield f"other runs that share the memory made {other_settings(found, len(run.rows))}"


def _memory_url(run: FinishedRun, named: str | None) -> str | None:
    """The URL of the memory to open: a file of this machine, or a server that is named.

    A run of somebody else may name any server, which would be sent the user's password: only a file
    is opened because a run says so.

    Raises:
        ConfigurationError: another one is named, or it is gone with its process.
    """
    recorded = run.config.memory
    if recorded == "memory://":
        raise ConfigurationError(
            f"the memory of {run.path} was in the process that made it and is gone; "
            "certify with --memory run to be able to audit"
        )
    if recorded not in ("run", "none"):
        try:
            parse_url(recorded)
        except ConfigurationError as error:
            raise RunError(
                f"{run.path / CONFIG} names no memory: restore it from a copy"
            ) from error
    url = None if recorded == "none" else run.config.memory_url(run.path)
    if named is None:
        return url if url is not None and url.startswith("sqlite:") else None
    if shown_url(named) != url:
        raise ConfigurationError(
            f"{run.path} does not have the memory that was named: name the one in its {CONFIG}"
        )
    return named


def _memory_violations(memory: Memory, run: FinishedRun) -> list[Violation]:
    """What is wrong with the memory of a run, and where it does not hold an answer of the run."""
    config, about = run.config, memory.about()
    wanted = {row.certificate.input_digest for row in run.rows}
    evidence = EvidenceOf(
        config.smoothing_noise.norm,
        config.model_digest,
        config.model_digests,
        config.num_classes,
        wanted,
    )
    report = memory.audit(evidence)
    violations = list(report.violations)
    for key, value in (("model_digest", config.model_digest), ("noise", config.noise)):
        if about.get(key) != value:
            message = f"the memory's {key} is {about.get(key)}, the run's is {value}"
            violations.append(Violation("memory", (), message))
    covered = []
    for row in run.rows:
        certificate = row.certificate
        answer = evidence.answers.get(certificate.input_digest)
        stored = answer and (answer.prediction, answer.radius, answer.outcome)
        given = (certificate.prediction, certificate.radius, certificate.outcome)
        if certificate.outcome == "unrecorded":
            continue
        if certificate.outcome == "abstained":
            remembers = not config.read_only and config.data_digest is not None  # early ones not
            if remembers and certificate not in evidence.abstentions[certificate.input_digest]:
                message = "the memory does not remember that it abstained"
                violations.append(Violation("memory", (row.index,), message))
            continue
        if stored == given:
            if evidence.certificates.get(certificate.input_digest, certificate) != certificate:
                message = "its certificate is not the one that is stored with its answer"
                violations.append(Violation("memory", (row.index,), message))
            continue
        if config.read_only and certificate.outcome == "inherited":
            covered.append(row)
            continue
        message = f"its answer {given} is not "
        message += "in the memory" if stored is None else f"the stored {stored}"
        violations.append(Violation("memory", (row.index,), message))
    if covered and report.ok:  # a memory that was altered cannot answer
        dataset = run.load_data(covered)
        violations += [
            Violation("memory", (row.index,), "the memory does not give its answer")
            for row in covered
            if not keeps_answer(memory, dataset[row.index][0], row.certificate)
        ]
    return violations


def _summary_faults(
    run: FinishedRun, entries: int | None, null: dict[str, float] | None, *, null_known: bool
) -> Iterator[str]:
    """Where the summary is not the one that the rows give.

    Args:
        run: the run.
        entries: how many the memory has by now: others may have come after the run. None where it
            was not opened.
        null: what constant classifiers get through its memory.
        null_known: whether that could be made again.
    """
    try:
        found = dict(_figures(summary_json(run.path)))
    except DataError as error:
        raise RunError(str(error)) from error
    stated = found.get("memory.entries")
    if run.config.memory != "none":
        stated = max(stated, 0) if isinstance(stated, int) else 0
        entries = stated if entries is None else min(entries, stated)
    try:
        made = summarise(
            run.rows,
            seconds=0.0,
            memory_entries=entries,
            null=null,
            **run.config.summary_settings,
        )
    except DDRSError as error:
        yield f"there can be none of these rows: {error}"
        return
    expected = dict(_figures(made.to_json()))
    early = run.config.data_digest is None
    for name in [key for key in {**expected, **found} if key != "seconds"]:
        figure = name.partition(".")[0]
        # The null needs the inputs; early runs had none of these figures.
        if (figure == "null" and not null_known) or (
            early and figure in LATER and name not in found
        ):
            continue
        if name not in found:
            if name.startswith("other_settings.") and run.config.data_digest is None:
                continue  # an early run, of a time when it was not counted
            yield f"{name} is missing in the summary"
        elif name not in expected:
            yield f"{name} is in the summary, but no figure of these rows"
        elif not _same(found[name], expected[name]):
            yield f"{name} is {found[name]} in the summary and {expected[name]} in the rows"


def _figures(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every single figure in nested mappings and lists, with a name such as `sigma.min`."""
    inside: Iterable[tuple[object, object]] | None = None
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    if inside is None:
        yield name, value
        return
    for key, part in inside:
        yield from _figures(part, f"{name}.{key}" if name else str(key))


def _same(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=TOLERANCE)
    return type(one) is type(other) and one == other
