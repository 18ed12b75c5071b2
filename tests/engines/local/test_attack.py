"""An attack on runs whose classifiers are known in closed form, stopped, refused and repeated."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from ddrs import data
from ddrs.engines.local import attack as engine
from ddrs.engines.local.attack import attack_points, attack_run
from ddrs.engines.local.certify import certify_run
from ddrs.errors import ConfigurationError, ModelError, RunError
from ddrs.finished.reading import read_finished
from ddrs.jobs.attack import AttackJob
from ddrs.jobs.certify import CertifyJob
from ddrs.noise.distributions import NOISES
from ddrs.runs.attacks import UnfinishedAttack, read_attack
from ddrs.votes.classifier import NoisyClassifier
from support import toy

JOB = AttackJob(inputs=8, factors=(0.95, 2.0), steps=5, draws=8)
FIXED = {"sigma": 0.25, "n": 400}
SEARCH = {"sigma": 0.1, "n": 400, "policy": "search"}


def certified(folder, model, name="run", inputs=None, **changes):
    """A finished run on 9 inputs in the unit cube."""
    if inputs is None:
        inputs = np.random.default_rng(1).uniform(0.2, 0.8, (9, *toy.SHAPE))
    source = folder / f"{name.encode().hex()}.npz"
    np.savez(source, x=inputs.astype(np.float32), y=np.zeros(len(inputs), np.int64))
    out = folder / name
    job = CertifyJob(f"npz:{source}", f"py:support.toy:{model}", seed=0, **changes)
    certify_run(job, out, quiet=True)
    return out


def attacked(run, job=JOB, out=None):
    return attack_run(read_finished(run), job, out, quiet=True)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("halfspace", FIXED),
        ("halfspace", FIXED | {"memory": "run"}),
        ("halfspace", SEARCH),
        ("halfspace", {"policy": "cascade", "settings": {"sigmas": (0.5, 0.25)}, "n": 400}),
        ("across", FIXED | {"noise": "uniform"}),
    ],
    ids=["fixed", "fixed with a memory", "search", "cascade", "l1"],
)
def test_what_changes_is_what_the_closed_form_says(tmp_path, model, settings):
    run = certified(tmp_path, model, **settings)
    finished, plane = read_finished(run), getattr(toy, model)()
    rows = [row for row in finished.rows if row.radius > 0][:8]
    assert len(rows) > 4
    dataset = data.load(finished.config.data)
    x = torch.stack([dataset[row.index][0] for row in rows])
    base = NoisyClassifier(plane, 2, NOISES[finished.config.noise])
    rows_of_base = [
        dataclasses.replace(
            row, certificate=dataclasses.replace(row.certificate, model_digest=base.digest)
        )
        for row in rows
    ]
    sign = torch.tensor([1 - 2 * row.prediction for row in rows])
    away = sign * plane.distance(x).detach()  # of the plane, which no certified ball may cut
    radius = torch.tensor([row.radius for row in rows], dtype=torch.float64)
    assert (away > radius).all()
    result = attacked(run)
    for factor in JOB.factors:
        points = attack_points([base], rows_of_base, x, factor, JOB, (0.0, 1.0))
        left = sign * plane.distance(points).detach()
        # the steepest way, unless the border of the cube is on it
        reached = (points > 0).flatten(1).all(1) & (points < 1).flatten(1).all(1)
        assert reached.sum() > 2
        assert left[reached].numpy() == pytest.approx((away - factor * radius)[reached], abs=1e-5)
        found = [point for point in result.points if point.factor == factor]
        for point, row, margin in zip(found, rows, left.tolist(), strict=True):
            assert (point.index, point.prediction) == (row.index, row.prediction)
            assert point.inside == (factor < 1)
            for setting, answer in point.answers.items():
                if setting != "input":
                    assert answer.prediction in (
                        row.prediction if margin > 0 else 1 - row.prediction,
                        -1,
                    )
        if factor < 1:
            assert (left > 0).all()
        else:
            assert any(point.changed(s) for point in found for s in point.answers)
    assert result.violations == []


def test_who_comes_first_decides_the_answer_at_the_input(tmp_path):
    """Class 2 is everywhere but near the origin, so its balls are large where sigma is free."""
    rng = np.random.default_rng(0)
    run = certified(tmp_path, "collapsing", inputs=rng.uniform(0, 0.1, (4, *toy.SHAPE)), **SEARCH)
    result = attacked(run, dataclasses.replace(JOB, factors=(0.95, 3.0)))
    figures = {(one.factor, one.setting): one for one in result.figures}
    assert figures[0.95, "after"].points == 4
    for setting in ("own sigma", "after", "read-only"):
        assert figures[0.95, setting].changed == 0
    assert figures[3.0, "before"].changed == 4
    assert 0 < figures[3.0, "input"].changed < 4
    assert result.violations == []
    assert figures[3.0, "before"].interval == pytest.approx((0.025 ** (1 / 4), 1.0))


def test_radii_that_are_too_large_are_violations(tmp_path):
    run = read_finished(certified(tmp_path, "halfspace", **FIXED))
    wrong = [
        dataclasses.replace(row, certificate=dataclasses.replace(row.certificate, radius=2.0))
        for row in run.rows
        if row.radius > 0
    ]
    result = attack_run(dataclasses.replace(run, rows=wrong), JOB, quiet=True)
    assert len(result.violations) > 2
    assert all(point.distance < 2 and setting == "plain" for point, setting in result.violations)


def test_one_that_is_stopped_at_any_moment_goes_on(tmp_path, monkeypatch):
    run = certified(tmp_path, "halfspace", **SEARCH)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    monkeypatch.setattr(engine, "COPIES_PER_PASS", 3 * JOB.draws)
    whole = attacked(run, out=tmp_path / "whole.json")
    append, calls = UnfinishedAttack.append, []

    def stop(self, points):
        calls.append(len(points))
        if len(calls) % 3 == 1:
            append(self, points[:1])
            with open(self.folder / "points.jsonl", "a") as file:
                file.write('{"index": 3, "pre')  # a kill cuts a line short
            raise KeyboardInterrupt
        append(self, points)

    monkeypatch.setattr(UnfinishedAttack, "append", stop)
    out, stops = tmp_path / "stopped.json", 0
    while not out.exists():
        try:
            attacked(run, out=out)
        except KeyboardInterrupt:
            stops += 1
    assert stops == 2
    assert read_attack(out) == whole
    assert not (tmp_path / "stopped.unfinished").exists()
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert before.items() <= after.items()
    assert {*after} - {*before} <= {"memory.db-shm", "memory.db-wal"}  # made by reading SQLite
    calls.clear()
    assert attacked(run, out=out) == whole  # it is there, and is not made again
    assert calls == []


def test_an_attack_begun_with_other_settings_or_a_strange_file_is_kept(tmp_path, monkeypatch):
    run = certified(tmp_path, "halfspace", **FIXED)
    monkeypatch.setattr(UnfinishedAttack, "finish", lambda *_: None)
    attacked(run)
    other = dataclasses.replace(JOB, seed=1)
    with pytest.raises(RunError, match=r"attack.unfinished holds an attack with other settings"):
        attacked(run, other)
    journal = run / "attack.unfinished" / "points.jsonl"
    journal.write_text(journal.read_text().replace("plain", "after"))
    with pytest.raises(RunError, match=r"points.jsonl is damaged .* remove .*attack.unfinished"):
        attacked(run)
    monkeypatch.undo()
    shutil.rmtree(run / "attack.unfinished")
    (run / "attack.unfinished").symlink_to(tmp_path)
    with pytest.raises(RunError, match="is a link"):
        attacked(run)
    (run / "attack.unfinished").unlink()
    attacked(run)
    with pytest.raises(RunError, match=r"attack.json is there already, of another attack"):
        attacked(run, other)
    assert read_attack(run / "attack.json").settings.seed == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "certificates.parquet").unlink(), "is not finished"),
        (lambda run: (run / "memory.db").unlink(), "put memory.db back"),
        (lambda run: altered(run, memory="none"), r"no memory of its own \(--memory none\)"),
        (lambda run: altered(run, memory="memory://"), "no memory of its own"),
        (lambda run: altered(run, model="py:support.toy:across"), "the model is not the one that"),
    ],
)
def test_a_run_that_cannot_be_attacked_is_refused(tmp_path, change, message):
    run = certified(tmp_path, "halfspace", **SEARCH)
    change(run)
    with pytest.raises(RunError, match=message):
        attacked(run)
    assert not list(run.glob("attack*"))


def altered(run, **changes):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))


def test_a_network_without_gradients_is_refused(tmp_path, monkeypatch):
    run = certified(tmp_path, "halfspace", **FIXED)
    monkeypatch.setattr(toy.Halfspace, "margin", lambda self, x: x.flatten(1).detach()[:, 0])
    with pytest.raises(ModelError, match=r"inputs 0 to .*: the attack needs a network that gives"):
        attacked(run)


@pytest.mark.parametrize("name", ["a b#c", "-x", "\x1b[31mred\nline", "ü ' \""])
def test_a_run_of_any_name_is_attacked(tmp_path, name):
    run = certified(tmp_path, "halfspace", name, **SEARCH)
    assert attacked(run, dataclasses.replace(JOB, inputs=1)).run == str(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 0}, "at least 1"),
        ({"factors": ()}, "finite numbers above 0"),
        ({"factors": (0.5, float("nan"))}, "finite numbers above 0"),
        ({"factors": (0.5, 0.5)}, "twice"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_can_never_work_is_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        AttackJob(**changes)
