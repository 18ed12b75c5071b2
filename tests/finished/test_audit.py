import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, ModelError, RunError, StoreError
from ddrs.evaluation.summary import summarise
from ddrs.finished.audit import audit_memory, audit_run
from ddrs.finished.reading import read_finished
from ddrs.inputs import Point, input_digest
from ddrs.jobs.certify import CertifyJob
from ddrs.memory.memory import Memory
from ddrs.proof.certificate import Certificate
from ddrs.proof.certify import recompute_radius
from ddrs.runs.rows import CertifiedRow
from ddrs.smoothing.classifier import SmoothedClassifier
from support import toy
from support.classifiers import Halfspace


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=400, alpha=0.01, seed=1
    )
    certify_run(asked, tmp_path / "run", quiet=True)
    return tmp_path / "run"


def change_row(run: Path, number: int, **changes: Any) -> None:
    """Change a row of the table and keep everything else, the summary included, consistent."""
    rows = pq.read_table(run / "certificates.parquet").to_pylist()
    rows[number].update(changes)
    pq.write_table(pa.Table.from_pylist(rows), run / "certificates.parquet")
    summary = json.loads((run / "summary.json").read_text())
    on = summary["memory"]["on"]
    made = summarise(
        [CertifiedRow.from_row(row) for row in rows],
        seconds=summary["seconds"],
        memory_entries=summary["memory"]["entries"] if on else None,
        alone=read_finished(run).config.alone,
        radii=[float(radius) for radius in summary["certified_accuracy"]],
        n_at_most=summary["n_at_most"],
        question=summary["question"],
        start=summary["start"],
        calibration=summary["calibration"],
        null=summary["null"],
    )
    (run / "summary.json").write_text(json.dumps(made.to_json()))


def claimed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A row with other counts, and the radius that they would prove."""
    certificate = replace(Certificate.from_row(row), **changes)
    c, radius = certificate, recompute_radius(certificate)
    p_lower, p_upper = c.parts[0].confidence.interval(c.count, c.runner_up, c.n)
    proved = {"radius": radius, "own_radius": radius, "p_lower": p_lower, "p_upper": p_upper}
    return {**changes, **proved}


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
        (lambda row: claimed(row, alpha=row["alpha"] * 2), "configuration"),
        (lambda row: {"norm": "l1"}, "configuration"),
        (lambda row: {"p_lower": row["p_lower"] + 1e-6}, "certificate"),
        (lambda row: {"p_upper": row["p_upper"] - 1e-6}, "certificate"),
        (lambda row: claimed(row, sigma=2.001), "configuration"),  # the policy ends at 4 * 0.5
        (lambda row: claimed(row, sigma=0.124), "configuration"),
        (lambda row: {"outcome": "unrecorded", "radius": 0.0}, "outcome"),
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


def test_rows_that_no_run_can_have_are_refused_by_name(run: Path) -> None:
    rows = pq.read_table(run / "certificates.parquet").to_pylist()
    rows[0]["radius"] = float("nan")
    pq.write_table(pa.Table.from_pylist(rows), run / "certificates.parquet")
    with pytest.raises(RunError, match=r"certificates.parquet, row 0, column radius: nan is not"):
        audit_run(run)


def test_a_run_with_a_question_is_sound_and_watched(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:support.toy:linear", sigma=0.5, n=4000, alpha=0.01, seed=1, at_radii=(0.3,)
    )
    certify_run(asked, tmp_path / "run", quiet=True)
    report = audit_run(tmp_path / "run")
    assert report.ok, report.violations
    number, row = first_own(tmp_path / "run")
    cheats = [
        claimed(row, looks=1),  # as if it had looked once
        claimed(row, looks=row["looks"] + 1),
        claimed(
            row, n=row["n"] + 1, count=row["count"] + 1, votes=row["votes"] + 1
        ),  # stopped where it never looks
        claimed(row, n=8000, count=8000, runner_up=0, votes=8100),  # went on past the last look
    ]
    for cheat in cheats:
        change_row(tmp_path / "run", number, **cheat)
        assert [violation.kind for violation in audit_run(tmp_path / "run").violations] == [
            "configuration"
        ]
        change_row(tmp_path / "run", number, **row)


def test_a_fixed_run_has_its_n_and_one_look(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(data, "py:support.toy:linear", sigma=0.5, n=4000, alpha=0.01, seed=1)
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
            data,
            "py:support.toy:linear",
            policy="search",
            sigma=0.5,
            n=400,
            seed=seed,
            memory=memory,
        )
        certify_run(asked, tmp_path / str(seed), quiet=True)
        report = audit_run(tmp_path / str(seed), memory)
        assert report.ok, report.violations


def test_the_fixed_sigma_is_that_of_the_run(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    certify_run(
        CertifyJob(data, "py:support.toy:linear", sigma=0.5, n=400), tmp_path / "run", quiet=True
    )
    number, row = first_own(tmp_path / "run")
    change_row(tmp_path / "run", number, **claimed(row, sigma=0.51))
    (violation,) = audit_run(tmp_path / "run").violations
    assert str(violation) == (
        f"configuration: entry {number}: its sigma is 0.51, the run's is from 0.5 to 0.5"
    )


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """The path of every figure in a summary."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, part in items for place in places(part, *path, key)]
    return [path]


def test_every_figure_of_the_summary_but_the_time_is_held_against_the_rows(run: Path) -> None:
    text = (run / "summary.json").read_text()
    found = places(json.loads(text))
    assert len(found) > 40
    for *path, last in found:
        data = None
        if "null" in (*path, last):  # which needs the inputs
            data = f"npz:{run.parent / 'data.npz'}"
        for wrong in (123.5, "MISSING", "text"):
            summary = json.loads(text)
            inside = summary
            for key in path:
                inside = inside[key]
            inside[last] = wrong
            if wrong == "MISSING" and isinstance(inside, dict):
                del inside[last]
            (run / "summary.json").write_text(json.dumps(summary))
            kinds = [violation.kind for violation in audit_run(run, data=data).violations]
            assert kinds == ([] if last == "seconds" else ["summary"]), (path, last, wrong)


@pytest.mark.parametrize("text", ["{}", "[]", "3", "null"])
def test_a_summary_that_is_none_is_a_violation(run: Path, text: str) -> None:
    (run / "summary.json").write_text(text)
    violations = audit_run(run).violations
    assert {violation.kind for violation in violations} == {"summary"}
    assert "acr is missing in the summary" in [violation.message for violation in violations]


def test_more_in_the_summary_than_the_rows_give_is_a_violation(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["certified_accuracy"]["3.00"] = 0.9
    (run / "summary.json").write_text(json.dumps(summary))
    (violation,) = audit_run(run).violations
    assert violation.message.startswith("certified_accuracy.3.00 is in the summary")


def test_entries_that_came_after_the_run_are_no_violation(run: Path) -> None:
    with Memory(f"sqlite:///{run / 'memory.db'}") as memory:
        certificate = Certificate.from_row(first_own(run)[1])
        far = np.full(toy.SHAPE, 1000, np.float32)
        own = replace(certificate, input_digest=input_digest(far))
        memory.resolve(far, own.own_prediction, own.own_radius, evidence=own.to_json())
    report = audit_run(run)
    assert report.ok, report.violations


@pytest.fixture
def shared(tmp_path: Path) -> CertifyJob:
    """What asks for a read-only run, on a memory that another run has filled."""
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=400, alpha=0.01, seed=1,
        memory=f"sqlite:///{tmp_path / 'shared.db'}", limit=8,
    )  # fmt: skip
    certify_run(asked, tmp_path / "writer", quiet=True)
    x = np.load(tmp_path / "data.npz")["x"]
    with np.load(tmp_path / "data.npz") as file:
        y = file["y"]
    x[4:8] += 1e-4  # inside the regions of those before, without being them
    np.savez(tmp_path / "near.npz", x=x, y=y)
    return replace(asked, data=f"npz:{tmp_path / 'near.npz'}", limit=None, read_only=True)


def test_a_read_only_run_is_sound_and_watched(shared: CertifyJob, tmp_path: Path) -> None:
    before = (tmp_path / "shared.db").read_bytes()
    summary = certify_run(shared, tmp_path / "run", quiet=True)
    rows = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pylist()
    outcomes = [row["outcome"] for row in rows]
    assert outcomes[4:8].count("inherited") >= 2
    assert summary.memory.unrecorded == outcomes.count("unrecorded") >= 2
    assert summary.sound_together is False
    assert (tmp_path / "shared.db").read_bytes() == before
    report = audit_run(tmp_path / "run", shared.memory)
    assert report.ok, report.violations
    certify_run(replace(shared, read_only=False), tmp_path / "later", quiet=True)
    assert audit_run(
        tmp_path / "run", shared.memory
    ).ok  # answers of later entries contradict nothing
    number = outcomes.index("inherited")
    for cheat in (
        {"radius": rows[number]["radius"] * 1.01 + 1},
        {"prediction": (rows[number]["prediction"] + 1) % 3},
    ):
        change_row(tmp_path / "run", number, **cheat)
        kinds = {
            violation.kind for violation in audit_run(tmp_path / "run", shared.memory).violations
        }
        assert "memory" in kinds
        change_row(tmp_path / "run", number, **rows[number])
    (tmp_path / "near.npz").unlink()
    with pytest.raises(RunError, match="needed again"):
        audit_run(tmp_path / "run", shared.memory)


def test_a_read_only_run_resumes(
    shared: CertifyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify_run(shared, tmp_path / "whole", quiet=True)
    monkeypatch.setenv("TOY_FAILS_AFTER", "18000")
    with pytest.raises(ModelError):
        certify_run(shared, tmp_path / "run", quiet=True)
    monkeypatch.delenv("TOY_FAILS_AFTER")
    done = (tmp_path / "run" / "certificates.partial").read_text()
    assert "inherited" in done
    certify_run(shared, tmp_path / "run", quiet=True)
    whole, broken = (
        pq.read_table(tmp_path / name / "certificates.parquet").drop(["seconds"]).to_pylist()
        for name in ("whole", "run")
    )
    assert whole == broken


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


def test_no_server_is_connected_to_because_a_run_says_so(
    shared: CertifyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a memory was opened")

    run = tmp_path / "writer"
    urls = ["postgresql://me@198.51.100.1/db?sslmode=require", "postgresql://host/db"]
    config = json.loads((run / "config.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr("ddrs.finished.audit.Memory", refuse)
        for url in urls:
            (run / "config.json").write_text(json.dumps({**config, "memory": url}))
            report = audit_run(run)
            assert report.violations == ()
            assert (report.entries, report.whole, report.ok) == (8, False, False)
            for other in (f"sqlite:///{tmp_path / 'other.db'}", "postgresql://me@host/db"):
                with pytest.raises(ConfigurationError, match=r"name the one in its config\.json"):
                    audit_run(run, other)
        change_row(run, 0, correct=False)
        assert audit_run(run).violations  # what is in the run is judged all the same
    (run / "config.json").write_text(json.dumps(config))
    change_row(run, 0, correct=True)
    assert audit_run(run, shared.memory).ok
    with sqlite3.connect(tmp_path / "shared.db") as connection:
        connection.execute("UPDATE regions SET radius = 2 * radius WHERE id = 1")
    assert audit_run(run, shared.memory).violations
    assert audit_run(run).violations  # a file of this machine is opened


def test_a_named_memory_may_have_a_password_beside_what_is_recorded(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((run / "config.json").read_text())
    recorded = "postgresql://me@host/db?sslmode=require"
    (run / "config.json").write_text(json.dumps({**config, "memory": recorded}))
    asked = []

    def opened(url: str, **options: object) -> None:
        asked.append(url)
        raise StoreError("not there")

    monkeypatch.setattr("ddrs.finished.audit.Memory", opened)
    for url in (recorded, "postgresql://me:secret@host/db?sslmode=require&sslpassword=secret"):
        with pytest.raises(StoreError, match="not there"):
            audit_run(run, url)
        assert asked.pop() == url


def test_a_run_with_a_memory_of_its_own_takes_no_other(run: Path, tmp_path: Path) -> None:
    assert audit_run(run, f"sqlite:///{run / 'memory.db'}").ok
    with pytest.raises(ConfigurationError, match="does not have the memory that was named"):
        audit_run(run, f"sqlite:///{tmp_path / 'other.db'}")
    (run / "memory.db").rename(tmp_path / "moved.db")
    (run / "memory.db").symlink_to(tmp_path / "moved.db")
    with pytest.raises(RunError, match=r"memory\.db is a link"):
        audit_run(run)


def test_a_pipe_in_a_run_is_refused_and_not_waited_for(run: Path) -> None:
    for name in ("memory.db", "summary.json", "certificates.parquet", "config.json"):
        (run / name).unlink()
        os.mkfifo(run / name)
        with pytest.raises((RunError, StoreError), match="pipe, device or socket"):
            audit_run(run)


@pytest.mark.parametrize(
    ("changes", "alpha", "message"),
    [
        ({}, 0.05, None),
        ({"alpha": 0.01}, 0.05, "its alpha 0.05 is not the 0.01 of its certificate"),
        ({"input_digest": "x"}, 0.05, "its certificate is for another input"),
        ({"own_prediction": 1, "prediction": 1}, 0.05, "its certificate claims class 1"),
        ({"p_lower": 0.9}, 0.05, "p_lower 0.9 is not the"),
        (None, 0.05, "its certificate cannot be read"),
    ],
)
def test_an_abstention_that_is_not_that_of_its_certificate_is_found(
    tmp_path: Path, changes: dict[str, Any] | None, alpha: float, message: str | None
) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    point = Point.of([0.0, 1.0])
    (one,) = SmoothedClassifier(
        Halfspace([1.0, 0.0]), 2, sigma=0.5, n=100, n0=1, alpha=0.05, seed=1
    ).certify(torch.tensor([[0.0, 1.0]]))
    assert one.outcome == "abstained"
    evidence = "{}" if changes is None else replace(one, **changes).to_json()
    with Memory(url) as memory:
        memory.resolve(point, -1, 0.0, evidence=evidence, alpha=alpha)
    violations = [str(violation) for violation in audit_memory(url).violations]
    assert bool(violations) == (message is not None)
    assert message is None or any(f"abstention 1: {message}" in each for each in violations)


def change_config(run: Path, **changes: Any) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))


def test_each_classifier_has_its_own_limit_of_sigma(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", 24)
    run = tmp_path / "run"
    models = {"model": "py:support.toy:linear", "alternatives": ("py:support.toy:another",)}
    job = CertifyJob(data, **models, policy="search", sigma=0.5, n=400, seed=1, calibration="none")
    certify_run(job, run, quiet=True)
    config, rows = read_finished(run).config, read_finished(run).rows
    sigmas: dict[str, float] = {}
    for row in rows:
        digest = row.certificate.model_digest
        sigmas[digest] = max(row.sigma, sigmas.get(digest, 0.0))
    low, high = sorted(config.model_digests, key=lambda digest: sigmas[digest])
    assert 0 < sigmas[low] < sigmas[high]
    policy = json.loads((run / "config.json").read_text())["policy"]
    summary = json.loads((run / "summary.json").read_text())
    for allowed, kinds in ((sigmas[low], set()), (sigmas[low] * 0.99, {"configuration"})):
        limits = [
            {"model_digest": low, "high": allowed},
            {"model_digest": high, "high": sigmas[high]},
        ]
        guard = {"digest": "0" * 64, "noise": "gaussian", "limits": limits}
        change_config(run, policy=policy | {"calibration": guard})
        (run / "summary.json").write_text(json.dumps(summary | {"calibration": sigmas[high]}))
        violations = audit_run(run).violations
        assert {violation.kind for violation in violations} == kinds, violations
        assert all("its sigma is" in violation.message for violation in violations)
    for other in ({"noise": "uniform"}, {"limits": limits[1:]}):
        change_config(run, policy=policy | {"calibration": guard | other})
        messages = [violation.message for violation in audit_run(run).violations]
        assert "its calibration is of other classifiers, or of other noise" in messages


def test_the_calibration_that_a_run_keeps_is_the_one_that_limited_it(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz", 80)
    run = tmp_path / "run"
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, n=400, seed=1, limit=9,
        calibration="auto",
    )  # fmt: skip
    certify_run(job, run, quiet=True)
    assert audit_run(run).ok
    file = run / "calibration.json"
    kept = file.read_text()
    policy = json.loads((run / "config.json").read_text())["policy"]
    other = policy | {"calibration": policy["calibration"] | {"digest": "0" * 64}}
    change_config(run, policy=other)
    (fault,) = [violation.message for violation in audit_run(run).violations]
    assert fault == "its limits are not those of its calibration.json"
    change_config(run, policy=policy)
    file.write_text(kept.replace('"votes"', '"tones"', 1))
    assert "calibration.json" in " ".join(each.message for each in audit_run(run).violations)


def test_an_abstention_of_the_run_is_remembered_by_its_memory(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    job = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=2.0, n=20, seed=1,
        alpha=1e-5, calibration="none",
    )  # fmt: skip
    run = tmp_path / "run"
    certify_run(job, run, quiet=True)
    abstained = [r.index for r in read_finished(run).rows if r.certificate.outcome == "abstained"]
    assert abstained
    assert audit_run(run).ok
    (run / "memory.db").unlink()
    with Memory(f"sqlite:///{run / 'memory.db'}") as memory:  # all but the abstentions, made anew
        config = read_finished(run).config
        memory.bind(config.model_digest, config.noise)
        dataset = read_finished(run).load_data()
        for row in read_finished(run).rows:
            c = row.certificate
            if c.outcome != "abstained":
                own = replace(c, prediction=c.own_prediction, radius=c.own_radius, outcome="own")
                x = dataset[row.index][0]
                memory.resolve(x, own.prediction, own.radius, evidence=own.to_json())
    violations = audit_run(run).violations
    assert [violation.entries for violation in violations] == [(index,) for index in abstained]
    assert {violation.message for violation in violations} == {
        "the memory does not remember that it abstained"
    }


def test_a_digest_of_data_that_is_made_up_is_a_violation(run: Path) -> None:
    data = f"npz:{run.parent / 'data.npz'}"
    assert audit_run(run, data=data).ok
    change_config(run, data_digest="0" * 64)
    (violation,) = audit_run(run, data=data).violations
    assert str(violation) == "its data_digest is not that of the data"


def test_runs_that_ask_one_memory_for_other_alphas_are_sound(tmp_path: Path) -> None:
    data = toy.write_inputs(tmp_path / "data.npz")
    memory = f"sqlite:///{tmp_path / 'shared.db'}"
    for number, alpha in enumerate((0.01, 0.001, 0.05, 0.002)):
        asked = CertifyJob(
            data, "py:support.toy:linear", policy="search", sigma=2.0, n=60, alpha=alpha,
            seed=number, memory=memory, calibration="none",
        )  # fmt: skip
        certify_run(asked, tmp_path / str(number), quiet=True)
    for number in range(4):
        report = audit_run(tmp_path / str(number), memory)
        assert report.ok, report.violations
    smaller = [row.certificate.alpha for row in read_finished(tmp_path / "1").rows]
    assert max(smaller) > 0.001
    assert any("alpha" in note for note in audit_run(tmp_path / "1", memory).notes)
