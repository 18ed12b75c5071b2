"""A run of a cascade: resumed, audited, and shown."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.errors import ModelError
from ddrs.evaluation.comparison import compare, notes
from ddrs.finished.audit import audit_run
from ddrs.finished.report import write_report
from ddrs.jobs.certify import CertifyJob
from ddrs.proof.certificate import Certificate
from ddrs.proof.certify import recompute_radius
from ddrs.runs.table import read_certificates, read_run
from support import toy


@pytest.fixture
def asked(tmp_path: Path) -> CertifyJob:
    return CertifyJob(
        toy.write_inputs(tmp_path / "data.npz"), "py:support.toy:linear", policy="cascade",
        settings={"sigmas": (1.0, 0.3), "p0": (0.75, 0.5)}, n=800, alpha=0.01, seed=1,
        alternatives=("py:support.toy:another",),
    )  # fmt: skip


def test_a_run_resumes_and_is_sound_by_itself(
    asked: CertifyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = certify_run(asked, tmp_path / "whole", quiet=True)
    monkeypatch.setenv("TOY_FAILS_AFTER", "5000")
    with pytest.raises(ModelError):
        certify_run(asked, tmp_path / "run", quiet=True)
    monkeypatch.delenv("TOY_FAILS_AFTER")
    certify_run(asked, tmp_path / "run", quiet=True)
    rows = [read_certificates(tmp_path / name) for name in ("whole", "run")]
    assert [row.certificate for row in rows[0]] == [row.certificate for row in rows[1]]
    assert {len(row.certificate.parts) for row in rows[0]} == {1, 2}
    assert (whole.sound_together, whole.memory.on, whole.alpha) == (True, False, 0.01)
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations
    assert "needs no memory" in notes(compare([read_run(tmp_path / "run")]))
    write_report([tmp_path / "run"], tmp_path / "page.html")
    assert "a cascade of smoothed ones" in (tmp_path / "page.html").read_text()


def without_the_passed(row: dict[str, Any]) -> dict[str, Any]:
    return {"further": []}


def all_of_alpha(row: dict[str, Any]) -> dict[str, Any]:
    return {"alpha": 0.01, "further": [{**piece, "alpha": 0.01} for piece in row["further"]]}


def another_threshold(row: dict[str, Any]) -> dict[str, Any]:
    return {"further": [{**piece, "p0": 0.9} for piece in row["further"]]}


def passed_as_answer(row: dict[str, Any]) -> dict[str, Any]:
    return {"further": [{**piece, "role": "answer", "p0": 0.5} for piece in row["further"]]}


def fewer_against(row: dict[str, Any]) -> dict[str, Any]:
    return {"further": [{**piece, "runner_up": 0, "p_upper": 0.001} for piece in row["further"]]}


@pytest.mark.parametrize(
    "change",
    [without_the_passed, all_of_alpha, another_threshold, passed_as_answer, fewer_against],
)
def test_evidence_that_is_not_of_the_cascade_is_caught(
    change: Any, asked: CertifyJob, tmp_path: Path
) -> None:
    certify_run(asked, tmp_path / "run", quiet=True)
    table = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pylist()
    number = next(k for k, row in enumerate(table) if row["further"] and row["radius"] > 0)
    row = table[number] | change(table[number])
    certificate = Certificate.from_row(row)
    radius = recompute_radius(certificate)
    if change is not fewer_against:  # consistent in itself
        low, high = certificate.parts[0].interval
        row |= {"radius": radius, "own_radius": radius, "p_lower": low, "p_upper": high}
        ends = [piece.interval for piece in certificate.further]
        row["further"] = [
            asdict(replace(piece, p_lower=low, p_upper=high))
            for piece, (low, high) in zip(certificate.further, ends, strict=True)
        ]
        if radius == 0:
            row |= {"prediction": -1, "own_prediction": -1, "outcome": "abstained"}
    table[number] = row
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "run" / "certificates.parquet")
    found = audit_run(tmp_path / "run").violations
    assert {"configuration", "certificate"} & {violation.kind for violation in found}
