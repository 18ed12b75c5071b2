import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.engines.local.certify import certify_run
from ddrs.errors import RunError
from ddrs.finished.audit import audit_run
from ddrs.finished.reading import read_run
from ddrs.jobs.certify import CertifyJob
from ddrs.proof.stopping import Estimation
from support import toy


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(
        data, "py:support.toy:linear", policy="search", sigma=0.5, high=1.5, n=400, seed=1,
        at_radii=(0.3,),
    )  # fmt: skip
    certify_run(asked, tmp_path / "run", quiet=True)
    return tmp_path / "run"


def test_what_was_asked_is_read_back(run: Path) -> None:
    asked, rows = read_run(run)
    assert [row["index"] for row in rows] == list(range(12))
    assert asked.inputs == 12
    assert asked.sigmas == (0.125, 1.5)
    assert asked.norm == "l2"
    assert (
        asked.times
        == Estimation(400, stopping=CertifyJob("d", "m", at_radii=(0.3,)).question).times
    )
    assert asked.same == {
        "n0": 100, "alpha": 0.001, "bound": "one-sided", "seed": 1, "looks": len(asked.times),
    }  # fmt: skip
    assert (asked.memory, asked.memory_is_its_own, asked.read_only) == ("run", True, False)
    assert 0.3 in asked.summary["radii"]
    dataset = asked.load_data(rows)
    assert len(dataset) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row.pop("sigma") for row in rows], "no column sigma"),
        (lambda rows: [row.pop("label") for row in rows], "no column label"),
        (lambda rows: rows[3].update(radius=None), "column radius"),
        (lambda rows: [row.update(radius="0.5") for row in rows], "column radius"),
        (lambda rows: [row.update(correct=1) for row in rows], "column correct"),
        (lambda rows: [row.update(n=400.0) for row in rows], "column n "),
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
        read_run(run)


def test_rows_from_before_there_were_looks_are_read(run: Path) -> None:
    file = run / "certificates.parquet"
    rows = pq.read_table(file).drop(["looks"])
    pq.write_table(rows, file)
    assert len(read_run(run)[1]) == 12


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
    if key == "data" and wrong != "MISSING":
        assert audit_run(run).ok  # an audit does not need the data
    elif key in ("n0", "alpha") and wrong != "MISSING":
        assert {v.kind for v in audit_run(run).violations} == {"configuration"}
    else:
        with pytest.raises((RunError, ValueError)) as caught:
            audit_run(run)
        assert "\n" not in str(caught.value)


def test_a_run_of_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "train"}')
    with pytest.raises(RunError, match="not a run of"):
        read_run(tmp_path)
