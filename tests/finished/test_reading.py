import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.errors import RunError
from ddrs.finished.audit import audit_run
from ddrs.finished.reading import read_finished
from ddrs.jobs.certify import CertifyJob
from ddrs.proof.stopping import Estimation, stopping_rule
from support import toy


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, settings={"high": 1.5},
        n=400, seed=1, at_radii=(0.3,),
    )  # fmt: skip
    certify_run(asked, tmp_path / "run", quiet=True)
    return tmp_path / "run"


def test_what_the_run_was_made_for_is_read_back(run: Path) -> None:
    found = read_finished(run)
    assert [row.index for row in found.rows] == list(range(12))
    config = found.config
    assert config.inputs == 12
    assert config.sigma_range == (0.125, 1.5)
    assert config.smoothing_noise.norm == "l2"
    assert config.estimation == Estimation(400, stopping=stopping_rule((0.3,), None))
    assert (config.n0, config.alpha, config.bound, config.seed) == (100, 0.001, "one-sided", 1)
    assert (config.memory, config.memory_is_its_own, config.read_only) == ("run", True, False)
    assert 0.3 in config.summary_settings["radii"]
    assert found.summary.to_json() == json.loads((run / "summary.json").read_text())
    assert len(found.load_data()) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row.pop("sigma") for row in rows], "no column sigma"),
        (lambda rows: [row.pop("label") for row in rows], "no column label"),
        (lambda rows: rows[3].update(radius=None), "column radius"),
        (lambda rows: [row.update(radius="0.5") for row in rows], "column radius"),
        (lambda rows: [row.update(correct=1) for row in rows], "column correct"),
        (lambda rows: [row.update(n=400.0) for row in rows], "column n:"),
        (lambda rows: [row.update(input_digest=7) for row in rows], "column input_digest"),
        (lambda rows: rows.clear(), "no column"),
    ],
)
def test_a_table_with_other_columns_is_refused(run: Path, change: Any, message: str) -> None:
    file = run / "certificates.parquet"
    rows = pq.read_table(file).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(RunError, match=message):
        audit_run(run)


def test_a_table_that_is_none_is_refused(run: Path) -> None:
    (run / "certificates.parquet").write_bytes(b"text")
    with pytest.raises(RunError, match="damaged"):
        read_finished(run)


def test_rows_from_before_there_were_looks_are_read(run: Path) -> None:
    file = run / "certificates.parquet"
    rows = pq.read_table(file).drop(["looks"])
    pq.write_table(rows, file)
    assert len(read_finished(run).rows) == 12


@pytest.mark.parametrize("key", ["policy", "n", "n0", "alpha", "inputs", "noise", "memory", "data"])
@pytest.mark.parametrize("wrong", ["MISSING", "nonsense", None, []])
def test_a_configuration_that_was_altered_is_refused_or_found(
    run: Path, key: str, wrong: object
) -> None:
    config = json.loads((run / "config.json").read_text())
    config[key] = wrong
    if wrong == "MISSING":
        del config[key]
    (run / "config.json").write_text(json.dumps(config))
    if key == "data" and wrong == "nonsense":
        assert audit_run(run).ok  # an audit does not need the data
    else:
        with pytest.raises((RunError, ValueError)) as caught:
            audit_run(run)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "wrong"), [("n0", 99), ("alpha", 0.0001), ("seed", 2)])
def test_another_setting_is_a_violation(run: Path, key: str, wrong: float) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {key: wrong}))
    assert {v.kind for v in audit_run(run).violations} == {"configuration"}


def test_a_run_of_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "train"}')
    with pytest.raises(RunError, match="not a run of"):
        read_finished(tmp_path)
