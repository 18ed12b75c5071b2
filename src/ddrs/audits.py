"""Check a finished run, or a memory, without trusting what wrote it."""

import json
from collections.abc import Container, Iterator, Mapping
from math import isclose
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddrs.certificate import ABSTAIN, Certificate
from ddrs.certify import recompute_radius
from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation import average_certified_radius
from ddrs.memory import AuditReport, Entry, Memory, Resolution, Violation
from ddrs.parquet import read_parquet
from ddrs.runs import CERTIFICATES, MEMORY_FILE, SUMMARY, read_config
from ddrs.sampling import ask, look_times

__all__ = ["audit_memory", "audit_run", "certificate_faults"]

TOLERANCE = 1e-9  # relative; builds of SciPy differ in the last digits


def audit_memory(url: str) -> AuditReport:
    """Audit a memory that exists (`Memory.audit`), and the counts behind each of its regions.

    Raises:
        StoreError: there is none at this URL, or it cannot be read.
    """
    report, _ = _audit_entries(url)
    return report


def audit_run(path: str | Path) -> AuditReport:
    """Audit a finished run directory of `ddrs certify`.

    Every radius is recomputed from its counts, every row is held against the run's classifier and
    settings, the summary's inputs, ACR and abstentions against the rows, and every answer against
    the memory of the run, which is audited too.

    Args:
        path: the run directory.

    Raises:
        RunError: not a run directory, or not finished.
        StoreError: its memory is gone or cannot be read.
    """
    path = Path(path)
    config = read_config(path)
    if config.get("kind") != "certify":
        raise RunError(f"{path} is not a run of `ddrs certify`")
    rows = _read_rows(path)
    violations = [
        Violation(kind, (int(row["index"]),), fault)
        for row in rows
        for kind, fault in _row_faults(row, config)
    ]
    indices = sorted(int(row["index"]) for row in rows)
    if indices != list(range(int(config["inputs"]))):
        violations.append(
            Violation("rows", (), f"the rows are not inputs 0 to {config['inputs'] - 1}, each once")
        )
    violations += [Violation("summary", (), fault) for fault in _summary_faults(path, rows)]
    if config["memory"] != "none":
        url = f"sqlite:///{(path / MEMORY_FILE).resolve()}"
        url = url if config["memory"] == "run" else config["memory"]
        if url == "memory://":
            raise ConfigurationError(
                f"the memory of {path} was in the process that made it and is gone; "
                "certify with --memory run to be able to audit"
            )
        violations += _memory_violations(url, rows)
    return AuditReport(tuple(violations), len(rows))


def certificate_faults(certificate: Certificate) -> Iterator[str]:
    """What is wrong with one record by itself: nothing, if it is sound."""
    c = certificate
    try:
        proved = recompute_radius(c)
    except ConfigurationError as error:
        yield str(error)
        return
    if not c.own_radius <= proved * (1 + TOLERANCE):
        yield f"own radius {c.own_radius} is more than the {proved} that its counts prove"
    elif not isclose(c.own_radius, proved, rel_tol=TOLERANCE, abs_tol=1e-300):
        yield f"own radius {c.own_radius} is not the {proved} that its counts prove"
    if (c.own_prediction == ABSTAIN) != (c.own_radius == 0):
        yield f"class {c.own_prediction} goes with an own radius of {c.own_radius}"
    same = c.prediction == c.own_prediction
    if c.outcome == "abstained" and not (c.prediction == c.own_prediction == ABSTAIN):
        yield f"it abstained but predicts {c.prediction}"
    if c.outcome == "own" and not (same and c.radius == c.own_radius):
        yield f"its radius {c.radius} is called its own, which is {c.own_radius}"
    if c.outcome == "trimmed" and not (same and 0 <= c.radius <= c.own_radius):
        yield f"its radius {c.radius} is called trimmed from {c.own_radius}"
    if c.outcome == "unrecorded" and not (same and c.radius == 0):
        yield f"it is not recorded, but claims class {c.prediction} with radius {c.radius}"
    if c.prediction == ABSTAIN and c.radius != 0:
        yield f"an abstention claims a radius of {c.radius}"


def _row_faults(row: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    certificate = Certificate.from_row(row)
    for fault in certificate_faults(certificate):
        yield "certificate", fault
    # A memory that other runs share may answer with a certificate that one of them made.
    own_memory = config["memory"] in ("none", "run")
    settings = ("n0", "alpha", "bound", "seed") if own_memory else ()
    for key in ("model_digest", *settings):
        if row[key] != config[key]:
            yield "configuration", f"its {key} is {row[key]}, the run's is {config[key]}"
    if own_memory:
        times = look_times(config["n"], ask(config.get("at_radii"), config.get("radius_tolerance")))
        if certificate.n not in times:
            yield "configuration", f"its n is {certificate.n}, where the run never looks"
        if certificate.looks != len(times):
            yield "configuration", f"its looks are {certificate.looks}, the run's {len(times)}"
    if row["correct"] != (row["prediction"] == row["label"]):
        yield "correct", f"class {row['prediction']} for label {row['label']} is marked wrongly"
    if config["memory"] == "none" and certificate.outcome not in ("own", "abstained"):
        yield "outcome", f"it is {certificate.outcome}, but the run had no memory"


def _audit_entries(
    url: str, wanted: Container[str] = ()
) -> tuple[AuditReport, dict[str, Resolution]]:
    """The report, and those of the stored answers by input digest that are wanted."""
    answers: dict[str, Resolution] = {}

    def examine(entry: Entry) -> Iterator[str]:
        if entry.point.digest in wanted:
            answers[entry.point.digest] = entry.resolution
        return _evidence_faults(entry, bound)

    with Memory(url, norm=None, read_only=True) as memory:
        bound = "model_digest" in memory.about()
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


def _memory_violations(url: str, rows: list[dict[str, Any]]) -> Iterator[Violation]:
    report, answers = _audit_entries(url, {str(row["input_digest"]) for row in rows})
    yield from report.violations
    for row in rows:
        where = (int(row["index"]),)
        answer = answers.get(row["input_digest"])
        given = (row["prediction"], row["radius"], row["outcome"])
        if row["outcome"] in ("abstained", "unrecorded"):
            continue
        if answer is None:
            yield Violation("memory", where, f"its answer {given} is not in the memory")
        elif (answer.prediction, answer.radius, answer.outcome) != given:
            stored = (answer.prediction, answer.radius, answer.outcome)
            yield Violation("memory", where, f"its answer {given} is not the stored {stored}")


def _summary_faults(path: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    try:
        summary = json.loads((path / SUMMARY).read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path / SUMMARY} cannot be read: {error}") from error
    expected = {
        "inputs": len(rows),
        "acr": average_certified_radius(rows),
        "abstained": sum(row["prediction"] == ABSTAIN for row in rows),
    }
    for key, value in expected.items():
        if not isclose(summary[key], value, rel_tol=TOLERANCE):
            yield f"{key} is {summary[key]} in the summary and {value} in the rows"


def _read_rows(path: Path) -> list[dict[str, Any]]:
    file = path / CERTIFICATES
    if not file.exists():
        raise RunError(f"{path} is not finished: run the same `ddrs certify` again, then audit")
    try:
        return list(read_parquet(file).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{file} is damaged: {error}") from error
