"""An attack finds nothing inside certified balls, other answers outside, and changes no run."""

import json
import shutil
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ddrs import Gaussian, Memory, SearchSigma, SmoothedClassifier, data, models
from ddrs.engines.local.attack import attack_points
from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import train_run
from ddrs.finished.reading import read_finished
from ddrs.jobs.attack import AttackJob
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.runs.attacks import Answer, Attacked
from ddrs.training.config import TrainingConfig
from ddrs.votes.classifier import NoisyClassifier
from experiments.cifar10.probes import attack, stream

FACTORS = (0.95, 1.5, 4.0)
SETTINGS = {"steps": 10, "draws": 16, "seed": 0}
WORDS = ["--steps", "10", "--draws", "16", *(f"--factor={one}" for one in FACTORS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("attack") / "model"
    training = TrainingConfig(sigma=0.25, epochs=12, seed=0)
    train_run(TrainJob("digits", "digits-cnn", training), out, quiet=True)
    return out


def certified(source, model, out, **changes):
    job = {"policy": "search", "n": 500, "seed": 0} | changes
    certify_run(CertifyJob(source, str(model), **job), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def source(model):
    """Inputs near borders, where the own votes of a point inside a ball often certify nothing."""
    out = model.parent / "stream.npz"
    words = ["--data", "digits", "--model", str(model), "--inputs", "6", "--halvings", "5"]
    stream.main([*words, "--distance", "0.4", "--steps", "10", "--out", str(out)])
    return f"npz:{out}"


@pytest.fixture(scope="module")
def run(source, model):
    return certified(source, model, model.parent / "run")


@pytest.fixture(scope="module")
def made(run):
    """What the command writes, and the files of the run before and after."""
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    attack.main([str(run), *WORDS, "--out", str(run.parent / "attack.json")])
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    return json.loads((run.parent / "attack.json").read_text()), before, after


def rows(run):
    """The certified ones."""
    every = pq.read_table(run / "certificates.parquet").to_pylist()
    return [row for row in every if row["radius"] > 0]


def test_nothing_changes_inside_and_much_far_outside(made, run):
    attacks, points = made[0]["attacks"], len(rows(run))
    for one, factor in zip(attacks, FACTORS, strict=True):
        assert (one["factor"], one["points"]) == (factor, points)
        assert one["inside"] == (points if factor < 1 else 0)
        assert one["broken"] == 0
    inside, _, far = attacks
    assert inside["memory"] == {"changed": 0, "abstained": 0, "outcomes": {"inherited": points}}
    assert inside["same_sigma"]["changed"] == 0
    assert far["same_sigma"]["changed"] > points / 2
    assert inside["alone"]["abstained"] > 0
    assert inside["writing"]["changed"] == inside["writing"]["abstained"] == 0
    assert {*inside["writing"]["outcomes"]} <= {"own", "inherited"}
    assert far["memory"]["changed"] > points / 2
    assert far["writing"]["certified_anew"] > 0


def test_points_are_at_the_distances_that_were_asked_for(made, run):
    points, given = made[0]["points"], rows(run)
    assert [point["factor"] for point in points] == [f for f in FACTORS for _ in given]
    for point, row in zip(points, given * len(FACTORS), strict=True):
        assert all(point[name] == row[name] for name in ("index", "prediction", "radius"))
        assert point["distance"] == pytest.approx(point["factor"] * row["radius"], rel=1e-3)


def test_the_answers_are_those_of_the_classifiers_that_are_named(made, run, source, model):
    dataset, certified_rows = data.load(source), read_finished(run).rows
    given = [row for row in certified_rows if row.radius > 0]
    x = torch.stack([dataset[row.index][0] for row in given])
    network = models.load(str(model)).module
    base = NoisyClassifier(network, 10, Gaussian())
    alone = SmoothedClassifier(base, 10, sigma=SearchSigma(0.25), n=500, seed=0)
    url = f"sqlite:///{run / 'memory.db'}"
    for k, factor in ((0, FACTORS[0]), (2, FACTORS[2])):
        points = attack_points([base], given, x, factor, AttackJob(**SETTINGS), (0.0, 1.0))
        found = made[0]["points"][k * len(given) : (k + 1) * len(given)]
        own = alone.certify(points)
        answers = [point["answers"] for point in found]
        assert [a["before"]["prediction"] for a in answers] == [c.prediction for c in own]
        assert [point["sigma"] for point in found] == [c.sigma for c in own]
        with Memory(url, read_only=True) as memory:
            regions = [memory.lookup(point.numpy()) for point in points]
        expected = [
            c.prediction if r is None else r.prediction for r, c in zip(regions, own, strict=True)
        ]
        assert [a["read-only"]["prediction"] for a in answers] == expected
        assert all((region is None) == (factor > 1) for region in regions)


def test_a_run_is_not_changed(made):
    _, before, after = made
    assert before.items() <= after.items()
    assert {*after} - {*before} <= {"memory.db-shm", "memory.db-wal"}  # made by reading SQLite


def test_everything_that_was_asked_is_written_and_the_table_is_shown(made, run, tmp_path, capsys):
    found, _, _ = made
    assert found["settings"] == {"inputs": 100, "factors": list(FACTORS)} | SETTINGS
    assert found["config"] == json.loads((run / "config.json").read_text())
    out = tmp_path / "again.json"
    attack.main(
        [
            str(run),
            *WORDS[:4],
            "--inputs",
            "2",
            "--factor",
            "2",
            "--factor",
            "0.5",
            "--out",
            str(out),
        ]
    )
    one, two = (row["index"] for row in rows(run)[:2])
    points = json.loads(out.read_text())["points"]
    assert [(p["index"], p["factor"]) for p in points] == [
        (one, 0.5),
        (two, 0.5),
        (one, 2),
        (two, 2),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    shown = [[cell.strip() for cell in line.split("|")[1:9]] for line in lines]
    names = ["distance", "points", "inside", "same sigma: changed", "abstained", "memory: changed"]
    assert shown[0][:6] == names
    assert shown[2][:4] == ["0.5 R", "2", "2", "0"]
    assert shown[2][5:] == ["0", "0.0% to 84.2%", "0"]
    assert (len(shown), shown[3][:3]) == (4, ["2 R", "2", "0"])


def test_figures_of_points():
    def point(distance, answer, outcome, alone, written, written_outcome, radius, same=3):
        answers = {
            "own sigma": Answer(same),
            "after": Answer(written, written_outcome, radius),
            "read-only": Answer(answer, outcome),
            "before": Answer(alone),
            "input": Answer(3),
        }
        return Attacked(0, 3, 1.0, 0.9, distance, 0.25, answers)

    points = [
        point(0.9, 3, "inherited", 4, 3, "inherited", 0.1),
        point(0.9, 3, "inherited", -1, 3, "own", 0.5),
        point(1.1, 5, "unrecorded", 5, 5, "trimmed", 0.2),
        point(1.1, 5, "unrecorded", 5, 5, "trimmed", 0.0),
        point(1.1, -1, "abstained", -1, -1, "abstained", 0.0, same=-1),
    ]
    found = attack.summary(points)
    assert found.pop("interval") == pytest.approx((0.0527, 0.8534), abs=1e-4)
    assert found == {
        "factor": 0.9,
        "points": 5,
        "inside": 2,
        "broken": 0,
        "same_sigma": {"changed": 0, "abstained": 1},
        "memory": {
            "changed": 2,
            "abstained": 1,
            "outcomes": {"inherited": 2, "unrecorded": 2, "abstained": 1},
        },
        "alone": {"changed": 3, "abstained": 2},
        "writing": {
            "changed": 2,
            "abstained": 1,
            "certified_anew": 1,
            "trimmed": 1,
            "outcomes": {"inherited": 1, "own": 1, "trimmed": 2, "abstained": 1},
        },
    }
    for answer, written in ((5, 3), (-1, 3), (3, 5)):
        assert point(0.9, answer, "", 3, written, "", 0.1).violations
        assert not point(1.0, answer, "", 3, written, "", 0.1).violations
    assert point(0.9, 3, "", 3, 3, "", 0.1, same=5).violations
    assert not point(1.0, 3, "", 3, 3, "", 0.1, same=5).violations
    assert not point(0.9, 3, "", 3, 3, "", 0.1, same=-1).violations  # nothing is proved


def test_radii_that_are_too_large_are_found_out_though_the_memory_agrees(run, source, tmp_path):
    """Certificates and memory of other, far larger radii, which agree with each other."""
    wrong = tmp_path / "wrong"
    shutil.copytree(run, wrong)
    given = pq.read_table(wrong / "certificates.parquet").to_pylist()
    for row in given:
        row["radius"] *= 20 * (row["index"] == rows(run)[0]["index"])
    pq.write_table(pa.Table.from_pylist(given), wrong / "certificates.parquet")
    (wrong / "memory.db").unlink()
    (first,) = [row for row in given if row["radius"] > 0]
    x = data.load(source)[first["index"]][0].numpy()
    with Memory(f"sqlite:///{run / 'memory.db'}", read_only=True) as memory:
        about = memory.about()
    with Memory(f"sqlite:///{wrong / 'memory.db'}") as memory:
        memory.bind(about["model_digest"], about["noise"])
        assert memory.resolve(x, first["prediction"], first["radius"]).outcome == "own"
    with pytest.raises(SystemExit) as exit_:
        attack.main([str(wrong), *WORDS[:4], "--factor", "0.9", "--out", str(tmp_path / "n.json")])
    assert exit_.value.code == 1
    (found,) = json.loads((tmp_path / "n.json").read_text())["attacks"]
    assert found["memory"]["changed"] == found["writing"]["changed"] == 0
    assert found["same_sigma"]["changed"] == found["broken"] == 1


def test_certificates_that_are_too_large_are_found_out(run, tmp_path, capsys):
    wrong = tmp_path / "wrong"
    shutil.copytree(run, wrong)
    given = rows(wrong)
    for row in given:
        row["radius"] *= 8
    pq.write_table(pa.Table.from_pylist(given), wrong / "certificates.parquet")
    with pytest.raises(SystemExit) as exit_:
        attack.main(
            [
                str(wrong),
                *WORDS[:4],
                "--inputs",
                "4",
                "--factor",
                "0.9",
                "--out",
                str(tmp_path / "new.json"),
            ]
        )
    assert exit_.value.code == 1
    found = json.loads((tmp_path / "new.json").read_text())["attacks"][0]
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("violation: input ") for line in lines) == found["broken"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "none"}, r"has no memory of its own \(--memory none\).* with --memory run"),
        ({"memory": "memory://"}, r"has no memory of its own \(--memory memory://\)"),
        ({"n": 10, "sigma": 100.0}, "certifies no input"),
    ],
)
def test_a_run_that_cannot_be_attacked_is_refused_in_one_line(model, tmp_path, changes, message):
    refused = certified("digits", model, tmp_path / "run", limit=2, **changes)
    with pytest.raises(SystemExit, match=f"^error: .*{message}.*$"):
        attack.main([str(refused), "--out", str(tmp_path / "new.json")])
    assert not (tmp_path / "new.json").exists()


def test_what_is_no_finished_run_with_this_model_and_data_is_refused(run, tmp_path):
    out = tmp_path / "new.json"
    with pytest.raises(SystemExit, match=r"^error: .*config.json cannot be read"):
        attack.main([str(tmp_path), "--out", str(out)])
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with sqlite3.connect(copy / "memory.db") as store:
        store.execute("UPDATE meta SET value = 'another' WHERE key = 'model_digest'")
    store.close()
    with pytest.raises(SystemExit, match=r"^error: the memory was made with another model"):
        attack.main([str(copy), "--out", str(out)])
    (copy / "certificates.parquet").unlink()
    with pytest.raises(SystemExit, match=r"^error: .*is not finished"):
        attack.main([str(copy), "--out", str(out)])
    assert not out.exists()


def test_a_result_that_is_there_is_kept(run, tmp_path, capsys):
    there = tmp_path / "there.json"
    there.write_text("precious")
    with pytest.raises(SystemExit) as exit_:
        attack.main([str(run), "--out", str(there)])
    assert exit_.value.code == 2
    assert "is there already: choose another" in capsys.readouterr().err
    assert there.read_text() == "precious"
