"""Check a finished run, or a memory, without trusting what wrote it."""

from collections.abc import Container, Iterable, Iterator
from math import isclose
from pathlib import Path

from ddrs.errors import ConfigurationError, DataError, DDRSError, RunError
from ddrs.evaluation.summary import summarise
from ddrs.finished.reading import FinishedRun, read_finished
from ddrs.jobs.checks import keeps_answer
from ddrs.jobs.config import CertifyConfig
from ddrs.memory.abstentions import Abstention
from ddrs.memory.audit import AuditReport, Violation
from ddrs.memory.entries import Entry
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.memory.store.urls import parse_url, shown_url
from ddrs.proof.certificate import ABSTAIN, Certificate
from ddrs.proof.check import TOLERANCE, certificate_faults
from ddrs.runs.files import CONFIG
from ddrs.runs.rows import CertifiedRow
from ddrs.runs.table import summary_json
from ddrs.smoothing.levels import Levels

__all__ = ["audit_memory", "audit_run"]

LATER = frozenset(["wrong", "discounted", "discounted_acr", "start", "calibration"])
FLOAT32 = 1e-6  # relative; the ends of a range in the arithmetic that sigma is chosen in


def audit_memory(url: str) -> AuditReport:
    """Audit a memory that exists (`Memory.audit`), and the counts behind each of its regions.

    Raises:
        StoreError: there is none at this URL, or it cannot be read.
    """
    with Memory(url, norm=None, read_only=True) as memory:
        report, _ = _audit_entries(memory)
    return report


def audit_run(path: str | Path, memory: str | None = None) -> AuditReport:
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

    Raises:
        ConfigurationError: `memory` is not that of the run, or is gone with its process.
        RunError: not a run directory, not finished, or not readable; or a run with a read-only
            memory without its data.
        StoreError: its memory is gone or cannot be read.
    """
    run = read_finished(Path(path))
    url = _memory_url(run, memory)
    violations = [
        Violation(kind, (row.index,), fault)
        for row in run.rows
        for kind, fault in _row_faults(row, run.config)
    ]
    inputs = run.config.inputs
    indices = sorted(row.index for row in run.rows)
    if len(indices) != inputs or indices != list(range(inputs)):
        violations.append(
            Violation("rows", (), f"the rows are not inputs 0 to {inputs - 1}, each once")
        )
    entries = None
    if url is not None:
        with Memory(url, norm=None, read_only=True) as opened:
            violations += _memory_violations(opened, run)
            entries = len(opened)
    violations += [Violation("summary", (), fault) for fault in _summary_faults(run, entries)]
    whole = url is not None or run.config.memory == "none"
    return AuditReport(tuple(violations), len(run.rows), whole)


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


def _row_faults(row: CertifiedRow, config: CertifyConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with one row, as the kind of a violation and a text each."""
    certificate = row.certificate
    for fault in certificate_faults(certificate):
        yield "certificate", fault
    for fault in _setting_faults(certificate, config):
        yield "configuration", fault
    right = None if row.label is None else row.prediction == row.label
    if row.correct != right:
        yield "correct", f"class {row.prediction} for label {row.label} is marked wrongly"
    if config.memory == "none" and certificate.outcome not in ("own", "abstained"):
        yield "outcome", f"it is {certificate.outcome}, but the run had no memory"
    if certificate.outcome == "unrecorded" and not config.read_only:
        yield "outcome", "it is unrecorded, but the run could write to its memory"


def _setting_faults(certificate: Certificate, config: CertifyConfig) -> Iterator[str]:
    """Where a certificate has not the settings of its run; any of a memory that others share has
    those of the run that made it.
    """
    wanted: dict[str, object] = {"norm": config.smoothing_noise.norm}
    if isinstance(config.policy, Levels):
        wanted |= {"n0": config.n0, "seed": config.seed}
        yield from _level_faults(certificate, config, config.policy)
    elif config.memory_is_its_own:
        estimation = config.estimation
        wanted |= {
            "n0": config.n0,
            "alpha": config.alpha,
            "bound": config.bound,
            "seed": config.seed,
            "looks": estimation.looks,
            "p0": 0.0,
            "further": (),
        }
        if certificate.n not in estimation.times:
            yield f"its n is {certificate.n}, where the run never looks"
        low, high = config.sigma_range
        if not low * (1 - FLOAT32) <= certificate.sigma <= high * (1 + FLOAT32):
            yield f"its sigma is {certificate.sigma}, the run's is from {low} to {high}"
    if certificate.model_digest not in config.model_digests:
        known = " or ".join(config.model_digests)
        yield f"its model_digest is {certificate.model_digest}, the run's is {known}"
    for key, value in wanted.items():
        if getattr(certificate, key) != value:
            yield f"its {key} is {getattr(certificate, key)}, the run's is {value}"


def _level_faults(certificate: Certificate, config: CertifyConfig, levels: Levels) -> Iterator[str]:
    """Where the evidence is not that of the first levels of the run's cascade, the last answering.

    As many levels shared alpha equally as were to be proved: those that are there, or with
    two-sided bounds also more of them.
    """
    answer, *passed = certificate.parts
    pieces = [*passed, answer]
    most = len(levels.sigmas)
    if len(pieces) > most:
        yield f"it has evidence of {len(pieces)} levels, the run's cascade has {most}"
        return
    sharing = [len(pieces)] if config.bound == "one-sided" else range(len(pieces), most + 1)
    if not any(all(one.alpha == config.alpha / k for one in pieces) for k in sharing):
        yield f"its levels do not share the run's alpha {config.alpha}"
    digests = levels.per_level(config.model_digests)
    for number, piece in enumerate(pieces):
        wanted: dict[str, object] = {
            "role": "answer" if piece is answer else "pass",
            "sigma": levels.sigmas[number],
            "p0": levels.thresholds[number],
            "norm": config.smoothing_noise.norm,
            "bound": config.bound,
            "looks": config.estimation.looks,
            "model_digest": digests[number],
        }
        for key, value in wanted.items():
            if getattr(piece, key) != value:
                yield f"its {key} at level {number} is {getattr(piece, key)}, not {value}"
        if piece.n not in config.estimation.times:
            yield f"its n at level {number} is {piece.n}, where the run never looks"


def _audit_entries(
    memory: Memory, wanted: Container[str] = ()
) -> tuple[AuditReport, dict[str, Resolution]]:
    """The report, and those of the stored answers by input digest that are wanted."""
    answers: dict[str, Resolution] = {}
    bound = "model_digest" in memory.about()

    def examine(entry: Entry | Abstention) -> Iterator[str]:
        if isinstance(entry, Abstention):
            return _abstention_faults(entry)
        if entry.point.digest in wanted:
            answers[entry.point.digest] = entry.resolution
        return _evidence_faults(entry, bound)

    return memory.audit(examine), answers


def _evidence_faults(entry: Entry, bound: bool) -> Iterator[str]:
    """Where the claim of an entry is not the one that the votes stored with it prove.

    Every entry of a memory that is bound to a classifier was made by it, and has its votes.
    """
    if entry.resolution.evidence is None:
        if bound:
            yield "it has no certificate, though the memory belongs to a classifier"
        return
    try:
        own = Certificate.from_json(entry.resolution.evidence)
    except (TypeError, ValueError) as error:
        yield f"its certificate cannot be read: {error}"
        return
    yield from certificate_faults(own)
    claimed = (entry.claimed_prediction, entry.claimed_radius)
    if claimed != (own.own_prediction, own.own_radius):
        proved = (own.own_prediction, own.own_radius)
        yield f"its claim {claimed} is not the {proved} of its certificate"
    if own.input_digest != entry.point.digest:
        yield "its certificate is for another input"


def _abstention_faults(abstention: Abstention) -> Iterator[str]:
    """Where an abstention that a memory remembers is not the one of its certificate."""
    try:
        own = Certificate.from_json(abstention.evidence)
    except (TypeError, ValueError) as error:
        yield f"its certificate cannot be read: {error}"
        return
    yield from certificate_faults(own)
    if (own.prediction, own.own_prediction) != (ABSTAIN, ABSTAIN):
        yield f"its certificate claims class {own.own_prediction}"
    if own.alpha != abstention.alpha:
        yield f"its alpha {abstention.alpha} is not the {own.alpha} of its certificate"
    if own.input_digest != abstention.input_digest:
        yield "its certificate is for another input"


def _memory_violations(memory: Memory, run: FinishedRun) -> list[Violation]:
    """What is wrong with the memory of a run, and where it does not hold an answer of the run."""
    report, answers = _audit_entries(memory, {row.certificate.input_digest for row in run.rows})
    violations = list(report.violations)
    covered = []
    for row in run.rows:
        certificate = row.certificate
        answer = answers.get(certificate.input_digest)
        stored = answer and (answer.prediction, answer.radius, answer.outcome)
        given = (certificate.prediction, certificate.radius, certificate.outcome)
        if certificate.outcome in ("abstained", "unrecorded") or stored == given:
            continue
        if run.config.read_only and certificate.outcome == "inherited":
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


def _summary_faults(run: FinishedRun, entries: int | None) -> Iterator[str]:
    """Where the summary is not the one that the rows give.

    Args:
        run: the run.
        entries: how many the memory has by now: others may have come after the run. None where it
            was not opened.
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
            run.rows, seconds=0.0, memory_entries=entries, **run.config.summary_settings
        )
    except DDRSError as error:
        yield f"there can be none of these rows: {error}"
        return
    expected = dict(_figures(made.to_json()))
    early = not LATER & {name.partition(".")[0] for name in found}
    for name in [key for key in {**expected, **found} if key != "seconds"]:
        figure = name.partition(".")[0]
        # The null needs the inputs; earlier versions had none of these figures.
        if figure == "null" or (early and figure in LATER):
            continue
        if name not in found:
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
