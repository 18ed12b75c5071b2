import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import toy
from ddrs.audits import audit_memory, audit_run
from ddrs.certificate import Certificate
from ddrs.certify import recompute_radius
from ddrs.engines.local import certify_run
from ddrs.errors import RunError, StoreError
from ddrs.jobs import CertifyJob


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(data, "py:toy:linear", policy="search", sigma=0.5, n=400, alpha=0.01, seed=1)
    certify_run(asked, tmp_path / "run", quiet=True)
    return tmp_path / "run"


def change_row(run: Path, number: int, **changes: Any) -> None:
    """Change a row of the table and keep everything else, the summary included, consistent."""
    rows = pq.read_table(run / "certificates.parquet").to_pylist()
    rows[number].update(changes)
    pq.write_table(pa.Table.from_pylist(rows), run / "certificates.parquet")
    summary = json.loads((run / "summary.json").read_text())
    summary["acr"] = sum(row["radius"] * row["correct"] for row in rows) / len(rows)
    summary["abstained"] = sum(row["prediction"] == -1 for row in rows)
    (run / "summary.json").write_text(json.dumps(summary))


def claimed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A row with other counts, and the radius that they would prove."""
    certificate = replace(Certificate.from_row(row), **changes)
    radius = recompute_radius(certificate)
    return {**changes, "radius": radius, "own_radius": radius}


def first_own(run: Path) -> tuple[int, dict[str, Any]]:
    rows = pq.read_table(run / "certificates.parquet").to_pylist()
    return next((i, row) for i, row in enumerate(rows) if row["outcome"] == "own")


def test_a_run_as_it_was_made_is_sound(run: Path) -> None:
    report = audit_run(run)
    assert report.ok, report.violations
    assert report.entries == 12
    assert audit_memory(f"sqlite:///{run / 'memory.db'}").ok


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda row: {"radius": row["radius"] * 1.01}, "certificate"),
        (lambda row: {"radius": row["radius"] * 1.01, "own_radius": row["own_radius"] * 1.01},
         "certificate"),
        (lambda row: {"count": row["count"] + 1, "runner_up": 0}, "certificate"),
        (lambda row: {"count": row["n"] + 1}, "certificate"),
        (lambda row: {"sigma": row["sigma"] * 2}, "certificate"),
        (lambda row: {"prediction": row["prediction"] + 1}, "certificate"),
        (lambda row: {"correct": not row["correct"]}, "correct"),
        (lambda row: {"label": row["label"] + 1}, "correct"),
        (lambda row: {"model_digest": "0" * 64}, "configuration"),
        (lambda row: {"alpha": row["alpha"] / 2}, "configuration"),
        (lambda row: {"index": 99}, "rows"),
        (lambda row: {"input_digest": "0" * 64}, "memory"),
    ],
)  # fmt: skip
def test_a_changed_row_is_caught(
    run: Path, change: Callable[[dict[str, Any]], dict[str, Any]], kind: str
) -> None:
    number, row = first_own(run)
    change_row(run, number, **change(row))
    assert kind in {violation.kind for violation in audit_run(run).violations}


def test_a_run_with_a_question_is_sound_and_watched(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:toy:linear", sigma=0.5, n=4000, alpha=0.01, seed=1, at_radii=(0.3,)
    )
    certify_run(asked, tmp_path / "run", quiet=True)
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations
    number, row = first_own(tmp_path / "run")
    cheats = [
        claimed(row, looks=1),  # as if it had looked once
        claimed(row, looks=row["looks"] + 1),
        claimed(row, n=row["n"] + 1, count=row["count"] + 1),  # stopped where it never looks
        claimed(row, n=8000, count=8000, runner_up=0),  # went on past the last look
    ]
    for cheat in cheats:
        change_row(tmp_path / "run", number, **cheat)
        assert [violation.kind for violation in audit_run(tmp_path / "run").violations] == [
            "configuration"
        ]
        change_row(tmp_path / "run", number, **row)


def test_a_fixed_run_has_its_n_and_one_look(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(data, "py:toy:linear", sigma=0.5, n=4000, alpha=0.01, seed=1)
    certify_run(asked, tmp_path / "run", quiet=True)
    number, row = first_own(tmp_path / "run")
    for cheat in (claimed(row, looks=2), claimed(row, n=800, count=800, runner_up=0, looks=1)):
        change_row(tmp_path / "run", number, **cheat)
        assert [violation.kind for violation in audit_run(tmp_path / "run").violations] == [
            "configuration"
        ]


def test_runs_that_share_a_memory_are_sound(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    memory = f"sqlite:///{tmp_path / 'shared.db'}"
    for seed in (1, 2):
        asked = CertifyJob(
            data, "py:toy:linear", policy="search", sigma=0.5, n=400, seed=seed, memory=memory
        )
        certify_run(asked, tmp_path / str(seed), quiet=True)
        report = audit_run(tmp_path / str(seed))
        assert report.ok, report.violations


def test_a_changed_summary_is_caught(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "acr": summary["acr"] + 0.01}))
    assert [violation.kind for violation in audit_run(run).violations] == ["summary"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE regions SET radius = radius * 1.001 WHERE id = 2",
        "UPDATE regions SET prediction = (prediction + 1) % 3 WHERE id = 2",
        "UPDATE regions SET radius = radius * 2, claimed_radius = claimed_radius * 2 WHERE id = 3",
        "DELETE FROM regions WHERE id = 4",
        "DELETE FROM regions WHERE id = (SELECT max(id) FROM regions)",
        "UPDATE regions SET evidence = '{}' WHERE id = 1",
    ],
)
def test_a_store_changed_by_hand_is_caught(run: Path, statement: str) -> None:
    with sqlite3.connect(run / "memory.db") as connection:
        changed = connection.execute(statement).rowcount
    assert changed, "the test changed nothing"
    assert not audit_run(run).ok


def test_what_cannot_be_audited_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        audit_memory(f"sqlite:///{tmp_path / 'missing.db'}")
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(RunError, match=r"config\.json"):
        audit_run(tmp_path)
    (run / "certificates.parquet").unlink()
    with pytest.raises(RunError, match="not finished"):
        audit_run(run)


def test_a_memory_that_is_gone_is_an_error(run: Path) -> None:
    (run / "memory.db").unlink()
    with pytest.raises(StoreError):
        audit_run(run)
