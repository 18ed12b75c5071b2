"""Check a finished run, or a memory, without trusting what wrote it."""

import json
from collections.abc import Container, Iterable, Iterator
from math import isclose
from pathlib import Path
from typing import Any

from ddrs.errors import ConfigurationError, DDRSError, RunError
from ddrs.evaluation.summary import summarise
from ddrs.finished.reading import Asked, read_run
from ddrs.jobs.checks import keeps_answer
from ddrs.memory.audit import AuditReport, Violation
from ddrs.memory.entries import Entry
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import Certificate
from ddrs.proof.check import TOLERANCE, certificate_faults
from ddrs.runs.directory import MEMORY_FILE, SUMMARY, Row

__all__ = ["audit_memory", "audit_run"]

FLOAT32 = 1e-6  # relative; the ends of a range in the arithmetic that sigma is chosen in


def audit_memory(url: str) -> AuditReport:
    """Audit a memory that exists (`Memory.audit`), and the counts behind each of its regions.

    Raises:
        StoreError: there is none at this URL, or it cannot be read.
    """
    with Memory(url, norm=None, read_only=True) as memory:
        report, _ = _audit_entries(memory)
    return report


def audit_run(path: str | Path) -> AuditReport:
    """Audit a finished run directory of `ddrs certify`.

    Every radius is recomputed from its counts, every row is held against the run's classifier and
    settings, every figure of the summary but the time against the rows, and every answer against
    the memory of the run, which is audited too.

    Args:
        path: the run directory.

    Raises:
        RunError: not a run directory, not finished, or not readable; or a run with a read-only
            memory without its data.
        StoreError: its memory is gone or cannot be read.
    """
    path = Path(path)
    asked, rows = read_run(path)
    violations = [
        Violation(kind, (int(row["index"]),), fault)
        for row in rows
        for kind, fault in _row_faults(row, asked)
    ]
    if sorted(int(row["index"]) for row in rows) != list(range(asked.inputs)):
        violations.append(
            Violation("rows", (), f"the rows are not inputs 0 to {asked.inputs - 1}, each once")
        )
    entries = None
    if asked.memory != "none":
        url = f"sqlite:///{(path / MEMORY_FILE).resolve()}"
        url = url if asked.memory == "run" else asked.memory
        if url == "memory://":
            raise ConfigurationError(
                f"the memory of {path} was in the process that made it and is gone; "
                "certify with --memory run to be able to audit"
            )
        with Memory(url, norm=None, read_only=True) as memory:
            found = _memory_violations(memory, asked, rows)
            entries = len(memory)
        violations += found
    violations += [
        Violation("summary", (), fault) for fault in _summary_faults(path, asked, rows, entries)
    ]
    return AuditReport(tuple(violations), len(rows))


def _row_faults(row: Row, asked: Asked) -> Iterator[tuple[str, str]]:
    certificate = Certificate.from_row(row)
    for fault in certificate_faults(certificate):
        yield "certificate", fault
    wanted: dict[str, Any] = {"norm": asked.norm}
    if asked.memory_is_its_own:
        wanted |= asked.same
        if certificate.n not in asked.times:
            yield "configuration", f"its n is {certificate.n}, where the run never looks"
        low, high = asked.sigmas
        if not low * (1 - FLOAT32) <= certificate.sigma <= high * (1 + FLOAT32):
            message = f"its sigma is {certificate.sigma}, the run's is from {low} to {high}"
            yield "configuration", message
    if certificate.model_digest not in asked.model_digests:
        known = " or ".join(asked.model_digests)
        yield (
            "configuration",
            f"its model_digest is {certificate.model_digest}, the run's is {known}",
        )
    for key, value in wanted.items():
        if getattr(certificate, key) != value:
            message = f"its {key} is {getattr(certificate, key)}, the run's is {value}"
            yield "configuration", message
    if row["correct"] != (row["prediction"] == row["label"]):
        yield "correct", f"class {row['prediction']} for label {row['label']} is marked wrongly"
    if asked.memory == "none" and certificate.outcome not in ("own", "abstained"):
        yield "outcome", f"it is {certificate.outcome}, but the run had no memory"
    if certificate.outcome == "unrecorded" and not asked.read_only:
        yield "outcome", "it is unrecorded, but the run could write to its memory"


def _audit_entries(
    memory: Memory, wanted: Container[str] = ()
) -> tuple[AuditReport, dict[str, Resolution]]:
    """The report, and those of the stored answers by input digest that are wanted."""
    answers: dict[str, Resolution] = {}
    bound = "model_digest" in memory.about()

    def examine(entry: Entry) -> Iterator[str]:
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


def _memory_violations(memory: Memory, asked: Asked, rows: list[Row]) -> list[Violation]:
    report, answers = _audit_entries(memory, {str(row["input_digest"]) for row in rows})
    violations = list(report.violations)
    other = []
    for row in rows:
        answer = answers.get(row["input_digest"])
        stored = answer and (answer.prediction, answer.radius, answer.outcome)
        given = (row["prediction"], row["radius"], row["outcome"])
        if row["outcome"] in ("abstained", "unrecorded") or stored == given:
            continue
        if asked.read_only and row["outcome"] == "inherited":
            other.append(row)
            continue
        message = f"its answer {given} is not "
        message += "in the memory" if stored is None else f"the stored {stored}"
        violations.append(Violation("memory", (int(row["index"]),), message))
    if other and report.ok:  # a memory that was altered cannot answer
        dataset = asked.load_data(other)
        violations += [
            Violation("memory", (row["index"],), "the memory does not give its answer")
            for row in other
            if not keeps_answer(memory, dataset[row["index"]][0], row)
        ]
    return violations


def _summary_faults(
    path: Path, asked: Asked, rows: list[Row], entries: int | None
) -> Iterator[str]:
    """Where the summary is not the one that the rows give.

    Args:
        path: the run directory.
        asked: its configuration.
        rows: its rows.
        entries: how many the memory has by now: others may have come after the run.
    """
    try:
        summary = json.loads((path / SUMMARY).read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path / SUMMARY} cannot be read: {error}") from error
    found = dict(_figures(summary))
    stated = found.get("memory.entries")
    if entries is not None and isinstance(stated, int):
        entries = min(entries, max(stated, 0))
    try:
        made = summarise(rows, seconds=0.0, memory_entries=entries, **asked.summary)
    except DDRSError as error:
        yield f"there can be none of these rows: {error}"
        return
    expected = dict(_figures(made))
    for name in [key for key in {**expected, **found} if key != "seconds"]:
        if name not in found:
            yield f"{name} is missing in the summary"
        elif name not in expected:
            yield f"{name} is in the summary, but no figure of these rows"
        elif not _same(found[name], expected[name]):
            yield f"{name} is {found[name]} in the summary and {expected[name]} in the rows"


def _figures(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single figure in nested mappings and lists, with a name such as `sigma.min`."""
    inside: Iterable[tuple[Any, Any]] | None = None
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    if inside is None:
        yield name, value
        return
    for key, part in inside:
        yield from _figures(part, f"{name}.{key}" if name else str(key))


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and not isinstance(one, bool) and not isinstance(other, bool):
        return isclose(one, other, rel_tol=TOLERANCE)
    return type(one) is type(other) and bool(one == other)
