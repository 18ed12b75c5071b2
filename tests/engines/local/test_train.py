import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ddrs import models
from ddrs.engines.local.certify import certify_run
from ddrs.engines.local.train import dry_run, train_run
from ddrs.errors import ConfigurationError, InputError, RunError, WeightsError
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.training.config import TrainingConfig
from ddrs.training.sigmas import DataDependent
from support import toy
from support.nursery import Nursery
from support.together import train_job
from support.toy_training import free_port

SHORT = TrainJob("digits", "digits-cnn", TrainingConfig(sigma=0.3, epochs=3, seed=4))
OPTIONS = {
    "gaussian": {},
    "smoothadv": {"epsilon": 0.25, "steps": 2, "m": 1},
    "macer": {"k": 4},
    "consistency": {},
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of digits to go on from."""
    out = tmp_path_factory.mktemp("runs") / "start"
    training = TrainingConfig(sigma=0.25, epochs=12, seed=0)
    train_run(TrainJob("digits", "digits-cnn", training), out, quiet=True)
    return out


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("adaptive", [None, DataDependent(warmup=1, lr=0.02)], ids=["fixed", "dd"])
def test_every_objective_trains_with_either_scale_and_is_certified(
    method: str, adaptive: DataDependent | None, started: Path, tmp_path: Path
) -> None:
    training = TrainingConfig(
        method, OPTIONS[method], 0.25, data_dependent=adaptive, epochs=3, lr=0.01, validation=100
    )
    job = TrainJob("digits", None, training, str(started))
    summary = train_run(job, tmp_path / "model", quiet=True)
    assert summary.held_out == 100
    card = json.loads((tmp_path / "model" / "config.json").read_text())
    assert card["result"]["objective"] == asdict(training.objective())
    assert summary.validation_accuracy > 0.8
    before, after = (
        torch.cat([value.flatten() for value in load_file(run / "weights.safetensors").values()])
        for run in (started, tmp_path / "model")
    )
    assert (after - before).norm() > 0.02 * before.norm()
    scales = np.load(tmp_path / "model" / "sigmas.npy")
    assert scales.shape == (1437,)
    moved = scales[scales != 0.25]
    if adaptive is None:
        assert len(moved) == 0
    else:  # those held out stay
        assert len(moved) > 1300
        assert moved.min() >= 0.25 / 4
        assert moved.max() <= 0.25 * 4
    asked = CertifyJob("digits", str(tmp_path / "model"), n=1000, limit=50, seed=0)
    assert certify_run(asked, tmp_path / "run", quiet=True).certified_accuracy["0.25"] > 0.6


def test_a_run_describes_the_model_that_it_made(tmp_path: Path) -> None:
    out = tmp_path / "model"
    summary = train_run(SHORT, out, quiet=True)
    assert json.loads((out / "summary.json").read_text()) == summary.to_json()
    loaded = models.load(str(out))
    assert (loaded.sigma, loaded.num_classes, loaded.input_shape) == (0.3, 10, (1, 8, 8))
    card = json.loads((out / "config.json").read_text())
    assert (card["data"], card["method"], card["sigma"], card["seed"]) == (
        "digits",
        "gaussian",
        0.3,
        4,
    )
    assert card["result"] == {**card["result"], **summary.to_json()}
    assert card["result"]["versions"]["torch"] == torch.__version__
    with open(out / "epochs.csv", newline="") as file:
        epochs = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in epochs] == [0, 1, 2]
    assert float(epochs[-1]["loss"]) == summary.loss
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())
    assert not (out / "checkpoint.pt").exists()
    assert train_run(SHORT, out, quiet=True) == summary  # it is finished: nothing is done again
    with pytest.raises(RunError, match="epochs: 3 not 4"):
        train_run(replace(SHORT, training=replace(SHORT.training, epochs=4)), out, quiet=True)
    data = toy.write_inputs(tmp_path / "data.npz")
    asked = CertifyJob(data, str(out), n=100, limit=4, seed=0)
    with pytest.raises(InputError, match=r"\[1, 8, 8\].*\[2, 3\]"):
        certify_run(asked, tmp_path / "other", quiet=True)


def test_training_that_was_interrupted_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(SHORT.training, data_dependent=DataDependent(lr=0.02), validation=0.1)
    asked = replace(SHORT, training=training)
    train_run(asked, tmp_path / "whole", quiet=True)
    saves = 0
    save = torch.save

    def save_twice(*arguments: object) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(torch, "save", save_twice)
    with pytest.raises(KeyboardInterrupt):
        train_run(asked, tmp_path / "broken", quiet=True)
    monkeypatch.undo()
    train_run(asked, tmp_path / "broken", quiet=True)
    for name in ("weights.safetensors", "sigmas.npy"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "broken" / name).read_bytes() == whole
    with open(tmp_path / "broken" / "epochs.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]


@pytest.mark.parametrize("last", ["runs.directory.Run.write_result", "engines.local.train._clear"])
def test_a_run_killed_while_it_wrote_its_model_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    out = tmp_path / "model"
    monkeypatch.setattr(f"ddrs.{last}", _stop)
    with pytest.raises(KeyboardInterrupt):
        train_run(SHORT, out, quiet=True)
    weights = (out / "weights.safetensors").read_bytes()
    monkeypatch.undo()
    train_run(SHORT, out, quiet=True)
    assert (out / "weights.safetensors").read_bytes() == weights
    assert "result" in json.loads((out / "config.json").read_text())
    assert not (out / "checkpoint.pt").exists()


def _stop(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def test_two_processes_make_one_run(nursery: Nursery, tmp_path: Path) -> None:
    def ends(epochs: int) -> list[int]:
        port = free_port()
        children = [nursery.fork(train_job, rank, port, str(tmp_path), epochs) for rank in range(2)]
        return [nursery.wait(child) for child in children]

    assert ends(epochs=2) == [0, 0]
    card = json.loads((tmp_path / "run" / "config.json").read_text())
    summaries = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert summaries[0] == {**summaries[1], "seconds": summaries[0]["seconds"]}
    assert card["result"] == {**card["result"], **summaries[0]}
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    assert ends(epochs=2) == [0, 0]  # it is finished: both are told
    assert json.loads((tmp_path / "1.json").read_text()) == summaries[0]


def test_starting_from_another_run_is_said_and_recorded(started: Path, tmp_path: Path) -> None:
    said: list[str] = []
    job = replace(SHORT, arch=None, init=str(started))
    train_run(job, tmp_path / "model", quiet=True, on_message=said.append)
    card = json.loads((tmp_path / "model" / "config.json").read_text())
    assert card["arch"] == "digits-cnn"
    assert said == [card["result"]["start"]]
    assert str(started) in said[0]
    first, second = (
        load_file(run / "weights.safetensors") for run in (started, tmp_path / "model")
    )
    assert first.keys() == second.keys()
    far = replace(SHORT, arch="resnet20", init=str(started / "weights.safetensors"))
    with pytest.raises(WeightsError, match="partial"):
        train_run(far, tmp_path / "far", quiet=True)
    with pytest.raises(ConfigurationError, match="--init"):
        replace(SHORT, partial_init=True)
    assert not (tmp_path / "far").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    adaptive = replace(SHORT.training, data_dependent=DataDependent(warmup=1), validation=0.2)
    found = dry_run(replace(SHORT, training=adaptive))
    assert [epochs for epochs, _ in found.rates] == [1, 2]
    assert not list(tmp_path.iterdir())
