"""A run of a router: resumed, audited, and shown."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, ModelError
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
        toy.write_inputs(tmp_path / "data.npz"), "py:support.toy:linear", policy="routed",
        settings={
            "sigmas": (0.4, 0.7), "router": "py:support.toy:router", "router_sigma": 0.6,
        },
        n=800, alpha=0.01, seed=1, alternatives=("py:support.toy:another",),
    )  # fmt: skip


def test_a_run_resumes_and_is_sound_by_itself(
    asked: CertifyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = certify_run(asked, tmp_path / "whole", quiet=True)
    monkeypatch.setenv("TOY_FAILS_AFTER", "3000")
    with pytest.raises(ModelError):
        certify_run(asked, tmp_path / "run", quiet=True)
    monkeypatch.delenv("TOY_FAILS_AFTER")
    certify_run(asked, tmp_path / "run", quiet=True)
    rows = [read_certificates(tmp_path / name) for name in ("whole", "run")]
    assert [row.certificate for row in rows[0]] == [row.certificate for row in rows[1]]
    assert {row.sigma for row in rows[0] if row.radius > 0} == {0.4, 0.7}
    assert (whole.sound_together, whole.memory.on, whole.alpha) == (True, False, 0.01)
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations
    assert "it needs no memory" in notes(compare([read_run(tmp_path / "run")]))
    write_report([tmp_path / "run"], tmp_path / "page.html")
    assert "a smoothed router" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"at_radii": (0.05, 0.2)},
        {"radius_tolerance": 0.1, "bound": "two-sided", "noise": "uniform", "identity": "ours"},
    ],
)
def test_a_run_that_stops_early_is_sound(changes: Any, asked: CertifyJob, tmp_path: Path) -> None:
    certify_run(replace(asked, **changes), tmp_path / "run", quiet=True)
    rows = read_certificates(tmp_path / "run")
    assert len({part.n for row in rows for part in row.certificate.parts}) > 1
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations


def test_a_router_that_does_not_fit_the_cells_is_refused(asked: CertifyJob, tmp_path: Path) -> None:
    settings = {**asked.settings, "router": "py:support.toy:linear"}
    with pytest.raises(ConfigurationError, match="3 scores for 2 cells"):
        certify_run(replace(asked, settings=settings), tmp_path / "run", quiet=True)


def no_route(row: dict[str, Any]) -> dict[str, Any]:
    return {"further": []}


def in_the_route(**values: Any) -> Any:
    return lambda row: {"further": [{**row["further"][0], **values}]}


def all_of_alpha(row: dict[str, Any]) -> dict[str, Any]:
    return {"alpha": 0.01} | in_the_route(alpha=0.01)(row)


def routed_by_the_classifier(row: dict[str, Any]) -> dict[str, Any]:
    return in_the_route(model_digest=row["model_digest"])(row)


def no_cell(row: dict[str, Any]) -> dict[str, Any]:
    return {"sigma": {0.4: 0.7, 0.7: 0.4}[row["sigma"]]}  # that of the other classifier


def answered_by_the_router(row: dict[str, Any]) -> dict[str, Any]:
    return {"model_digest": row["further"][0]["model_digest"]}


def fewer_votes(row: dict[str, Any]) -> dict[str, Any]:
    return {"votes": row["votes"] - 1}


@pytest.mark.parametrize(
    "change",
    [
        no_route,
        all_of_alpha,
        routed_by_the_classifier,
        no_cell,
        answered_by_the_router,
        fewer_votes,
        in_the_route(role="answer"),
        in_the_route(sigma=6.0),
        in_the_route(runner_up=0),
        in_the_route(n=100, count=100, runner_up=0),
        in_the_route(looks=2),
        in_the_route(p0=0.5),
    ],
)
def test_evidence_that_is_not_of_the_router_is_caught(
    change: Any, asked: CertifyJob, tmp_path: Path
) -> None:
    """Each row is consistent in itself: its bounds and radius are those of its counts."""
    certify_run(replace(asked, limit=4), tmp_path / "run", quiet=True)
    table = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pylist()
    number = next(k for k, row in enumerate(table) if row["radius"] > 0)
    table[number] |= change(table[number])
    certificate = Certificate.from_row(table[number])
    parts = [
        replace(part, p_lower=low, p_upper=high)
        for part in certificate.parts
        for low, high in [part.interval]
    ]
    table[number] |= {"p_lower": parts[0].p_lower, "p_upper": parts[0].p_upper}
    table[number]["further"] = [asdict(part) for part in parts[1:]]
    radius = recompute_radius(Certificate.from_row(table[number]))
    table[number] |= {"radius": radius, "own_radius": radius}
    if radius == 0:
        table[number] |= {"prediction": -1, "own_prediction": -1, "outcome": "abstained"}
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "run" / "certificates.parquet")
    found = audit_run(tmp_path / "run").violations
    assert {"configuration", "class"} & {violation.kind for violation in found}
