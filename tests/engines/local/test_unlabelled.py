"""Photographs without labels, from the folder to the page: answers and radii, no accuracy."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ddrs.cli.commands import main
from ddrs.display.rounding import rounded_down
from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import train_run
from ddrs.errors import DataError, InputError
from ddrs.evaluation.comparison import compare, render
from ddrs.evaluation.curves import draw_certified_accuracy
from ddrs.evaluation.metrics import certified_accuracy
from ddrs.finished.audit import audit_run
from ddrs.finished.orders import reorder
from ddrs.finished.report import write_report
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.runs.directory import Run
from ddrs.runs.logs import write_log
from ddrs.runs.table import read_rows, read_run, read_runs, read_summary
from ddrs.training.config import TrainingConfig
from support import toy

RADII = (0.0, 0.05, 0.25)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight grey images of 4 x 6 pixels; the toy takes half of that."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(5)
    for number in range(8):
        pixels = rng.integers(0, 256, (2, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(2, axis=0).repeat(2, axis=1)).save(folder / f"{number}.png")
    return folder


def job(photographs: Path, **changes: object) -> CertifyJob:
    settings: dict[str, object] = {
        "sigma": 0.05, "n": 400, "alpha": 0.01, "seed": 1, "policy": "search",
        "resize": 2, "settings": {"votes": 200}, **changes,
    }  # fmt: skip
    spec = f"folder:{photographs}"
    return CertifyJob(data=spec, model="py:support.toy:linear", **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    certify_run(job(photographs), path, quiet=True)
    return path


def test_the_summary_has_no_accuracy(run: Path) -> None:
    rows = read_rows(run)
    found = json.loads((run / "summary.json").read_text())
    assert (found["acr"], found["clean_accuracy"]) == (None, None)
    assert (found["certified_accuracy"], found["certified_accuracy_interval"]) == ({}, {})
    radii = np.array([row.radius for row in rows])
    answered = np.array([row.prediction != -1 for row in rows])
    assert answered.mean() > 0
    assert found["answered"]["0.25"] == np.mean(answered & (radii >= 0.25))
    assert found["answered"]["0.00"] == answered.mean()
    assert found["mean_radius"] == pytest.approx(radii.mean())
    assert {(row.label, row.correct) for row in rows} == {(None, None)}
    schema = pq.read_schema(run / "certificates.parquet")
    assert (schema.field("label").type, schema.field("correct").type) == (pa.int64(), pa.bool_())
    with pytest.raises(InputError, match="row 0 has no label, so there is no accuracy"):
        certified_accuracy(rows, 0.0)


def test_a_run_that_was_stopped_goes_on(run: Path, photographs: Path, tmp_path: Path) -> None:
    whole = read_rows(run)
    other = tmp_path / "run"
    certify_run(job(photographs), other, quiet=True)
    with Run(other, replace(_config(other), seed=1)) as opened:
        rows = opened.rows()
        (other / "certificates.parquet").unlink()
        (other / "summary.json").unlink()
        opened.append(rows[:3])
    certify_run(job(photographs), other, quiet=True)
    again = read_rows(other)
    assert [(r.index, r.prediction, r.radius, r.label) for r in again] == [
        (r.index, r.prediction, r.radius, r.label) for r in whole
    ]
    assert read_summary(other) == replace(read_summary(run), seconds=read_summary(other).seconds)  # type: ignore[type-var, union-attr]


def _config(path: Path):  # type: ignore[no-untyped-def]
    from ddrs.finished.reading import read_finished

    return read_finished(path).config


def test_it_can_be_audited(run: Path, tmp_path: Path) -> None:
    assert audit_run(run).violations == ()
    table = pq.read_table(run / "certificates.parquet")
    for name in ("label", "correct"):
        half = (
            pa.array([True] * 4 + [None] * 4)
            if name == "correct"
            else pa.array([1] * 4 + [None] * 4)
        )
        broken = table.set_column(table.column_names.index(name), name, half)
        copy = tmp_path / name
        copy.mkdir()
        pq.write_table(broken, copy / "certificates.parquet")
        with pytest.raises(DataError, match="has empty cells in column label"):
            read_rows(copy)
    summary = json.loads((run / "summary.json").read_text())
    kept = (run / "summary.json").read_bytes()
    try:
        (run / "summary.json").write_text(json.dumps(summary | {"mean_radius": 9.0}))
        assert any("mean_radius" in str(each) for each in audit_run(run).violations)
        (run / "summary.json").write_text(
            json.dumps(summary | {"certified_accuracy": {"0.00": 1.0}})
        )
        assert any("certified_accuracy" in str(each) for each in audit_run(run).violations)
    finally:
        (run / "summary.json").write_bytes(kept)


def test_orders_count_answers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reorder(run, 2, quiet=True)
    summary = read_summary(run)
    assert summary is not None
    assert not found.labelled
    assert found.certified_accuracy[0.25].run == summary.answered["0.25"]
    assert found.acr.run == summary.mean_radius
    with pytest.raises(SystemExit):
        main(["audit", str(run), "--orders", "1"])
    assert "| mean radius " in capsys.readouterr().out


def test_tables_name_what_they_show(run: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled"
    spec = toy.write_inputs(tmp_path / "data.npz")
    certify_run(CertifyJob(spec, "py:support.toy:linear", sigma=0.5, n=400), labelled, quiet=True)
    both = compare(read_runs([run, labelled]), RADII)
    summary = read_summary(run)
    assert summary is not None
    text = render(both)
    first, second, _ = text.split("\n\nNo labels, so no accuracy: ")[0], *text.split("\n\n")[2:]
    assert "ACR" in first
    assert "run " in first
    assert "mean radius" in second
    assert "ACR" not in second
    assert "clean" not in second
    mean = rounded_down(summary.mean_radius or 0.0, 3)
    assert f" {mean} " in second
    only = render(compare([read_run(run)], RADII))
    assert only.startswith("No labels, so no accuracy")
    assert "intervals of the accuracies" not in only
    rows = list(csv.DictReader(io.StringIO(render(both, "csv"))))
    assert (rows[0]["certified_0.25"], rows[0]["acr"], rows[1]["answered_0.25"]) == ("", "", "")
    assert float(rows[0]["answered_0.25"]) == summary.answered["0.25"]
    assert float(rows[0]["mean_radius"]) == summary.mean_radius
    found = json.loads(render(both, "json"))
    assert found[0]["certified_accuracy"] == {}
    assert found[0]["answered"]["0.25"] == summary.answered["0.25"]
    assert (found[1]["answered"], found[1]["mean_radius"]) == ({}, None)

    left, _ = draw_certified_accuracy(read_runs([run, labelled])).axes
    assert (
        left.get_ylabel()
        == "fraction of inputs, correct or, without labels, answered within the radius"
    )
    assert f"no labels, mean radius {mean}" in left.get_legend().get_texts()[0].get_text()
    left, _ = draw_certified_accuracy([read_run(run)]).axes
    assert left.get_title() == "answers to inputs without labels, with 95 % intervals"
    assert left.lines[0].get_ydata()[0] == summary.answered["0.00"]  # type: ignore[index]

    for runs, has, has_not in (
        ([run], "Answers without labels", "<h2>Certified accuracy"),
        ([run, labelled], "<h2>Certified accuracy", "\0"),
    ):
        write_report(runs, tmp_path / "page.html", RADII)
        page = (tmp_path / "page.html").read_text()
        assert has in page
        assert has_not not in page
        assert "none, so there is no accuracy" in page
        assert f"<td>{mean}" in page
        assert "--resize 2" in page


def test_what_needs_labels_says_so(run: Path, photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input 0 has no label, which this form of a log needs"):
        write_log(read_rows(run), tmp_path / "log")
    assert not (tmp_path / "log").exists()
    training = TrainJob(f"folder:{photographs}", "digits-cnn", TrainingConfig(sigma=0.25))
    with pytest.raises(DataError, match="has no labels, which training needs"):
        train_run(training, tmp_path / "model", quiet=True)


def test_the_command_says_what_it_does(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["certify", "--data", f"folder:{photographs}", "--model", "py:support.toy:linear"]
    words += ["--sigma", "0.05", "--n", "100", "--crop", "2", "--limit", "2", "--gray"]
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--out", str(tmp_path / "run")])
    said = capsys.readouterr()
    assert exit_.value.code == 1  # 2 x 2 pixels are not for this network
    assert "note: images are read in grey, cropped to 2 x 2; radii are meant in those" in said.err
    words[words.index("--crop")] = "--resize"
    (photographs / "notes.heic").write_bytes(b"?")
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--out", str(tmp_path / "run")])
    said = capsys.readouterr()
    (photographs / "notes.heic").unlink()
    assert not exit_.value.code, said.err
    assert "1 files are no images" in said.err
    assert said.err.count("note: ") == 2
    assert said.out.startswith("No labels, so no accuracy")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["rgb"], config["resize"], config["crop"]) == (False, 2, None)


def test_an_audit_prepares_the_data_as_the_run_did(run: Path, photographs: Path) -> None:
    report = audit_run(run, data=f"folder:{photographs}")
    assert report.ok, report.violations
