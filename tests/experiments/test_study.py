"""The files of the study name commands that exist, and are carried out in an order that works."""

import json

import numpy as np
import pytest
import typer
from safetensors.torch import save_file

from ddrs import Gaussian, data
from ddrs.cli.commands import app
from ddrs.networks.architectures import digits_cnn
from ddrs.training.splits import split
from ddrs.votes.classifier import NoisyClassifier
from experiments.cifar10 import study
from experiments.cifar10.probes import attack, stream
from experiments.cifar10.report.stored import read_study
from support.pictures import write_parquet

TASKS = study.tasks([])
PROBES = {
    "experiments.cifar10.probes.stream": stream,
    "experiments.cifar10.probes.attack": attack,
}
PROBED = [task for task in TASKS if task.words[0] == "python"]


@pytest.mark.parametrize("task", [t for t in TASKS if t not in PROBED], ids=lambda task: task.name)
def test_a_command_has_the_options_of_its_files(task):
    program, name, *words = task.words
    assert program == "ddrs"
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, words)  # raises on an unknown option or a bad value


def test_probes_have_the_options_of_their_files_too(tmp_path):
    assert [task.name for task in PROBED] == ["the stream", "attack"]
    assert [task.words[2] for task in PROBED] == [*PROBES]
    for task, probe in zip(PROBED, PROBES.values(), strict=True):
        program, flag, module, *words, _ = task.words
        assert (program, flag, module) == ("python", "-m", probe.__name__)
        probe.arguments().parse_args([*words, str(tmp_path / "file")])  # exits where it cannot


def test_a_precision_that_is_asked_for_overrides_that_of_every_file():
    for precision in study.PRECISIONS:
        for task in study.tasks([], precision):
            asked = f" --precision {precision} " in f"{' '.join(task.words)} "
            assert asked == (task.words[0] == "ddrs")


def test_without_one_the_files_decide():
    asked = {
        task.name: task.words[task.words.index("--precision") + 1]
        for task in TASKS
        if task not in PROBED
    }
    assert {asked["model gaussian-fixed-0.25"], asked["five-ds2-0.25"]} == {"fp32"}
    assert asked["five-ds2-0.25 on confirmation inputs"] == "fp32"
    assert {asked["gaussian-ds-0.25"], asked["stream"]} == {"bf16"}


def test_every_file_is_used_once_and_after_what_it_needs():
    names = [task.name for task in TASKS]
    assert len(names) == len(set(names))
    for folder in ("rows", "models"):
        for path in (study.PLAN / folder).glob("*.toml"):
            assert (path.stem if folder == "rows" else f"model {path.stem}") in names
    for place, task in enumerate(TASKS):
        assert all(TASKS.index(one) < place for one in task.after)
    assert len({task.out for task in TASKS}) == len(TASKS)
    assert names[-3:] == ["the stream", "stream", "attack"]


def test_differences_are_of_rows_that_exist():
    pairs = study.read(study.PLAN / "study.toml")["differences"]["pairs"]
    assert {name for pair in pairs for name in pair} <= {task.name for task in TASKS}


def test_the_stream_and_the_attack_bring_what_they_need():
    assert [task.name for task in study.tasks(["stream"])] == [
        "model gaussian-dd-0.25",
        "model smoothadv-dd-0.25",
        "the stream",
        "stream",
    ]
    names = [task.name for task in study.tasks(["attack"])]
    assert names[-2:] == ["all-ds2-0.25", "attack"]
    assert "all-ds2-0.25 on validation inputs" not in names


def test_a_row_brings_its_models_and_an_unknown_one_is_refused():
    words = [task.name for task in study.tasks(["macer-ds2-0.5"])]
    assert words == [
        "model gaussian-dd-0.25",
        "model gaussian-dd-0.5",
        "model macer-dd-0.5",
        "macer-ds2-0.5",
        "macer-ds2-0.5 on validation inputs",
    ]
    # A row that is never chosen is not validated.
    words = [task.name for task in study.tasks(["gaussian-fixed-0.25"])]
    assert words == ["model gaussian-fixed-0.25", "gaussian-fixed-0.25"]
    with pytest.raises(SystemExit, match="no such row: magic"):
        study.tasks(["magic"])


def write(out, more="pass"):
    """A command that writes the summary of a run directory."""
    code = f"import pathlib; {more}; p = pathlib.Path({str(out)!r}); p.mkdir(parents=True)"
    return ["python", "-c", f"{code}; (p / 'summary.json').write_text('1')", str(out)]


def test_tasks_run_in_order_and_what_failed_is_named(tmp_path, capfd):
    first = study.Task("first", write(tmp_path / "first"), tmp_path / "kept")
    check = f"assert pathlib.Path({str(tmp_path / 'first')!r}).exists()"
    words = write(tmp_path / "second", check)
    second = study.Task("second", words, tmp_path / "kept" / "second", [first])
    words = ["python", "-c", "raise SystemExit(3)", str(tmp_path / "third")]
    third = study.Task("third", words, tmp_path / "kept" / "third")
    with pytest.raises(SystemExit, match="failed: third"):
        study.run([second, first, third], 1)
    assert second.done
    assert (tmp_path / "kept" / "second" / "summary.json").read_text() == "1"
    assert not (tmp_path / "kept" / "third").exists()
    (tmp_path / "kept" / "summary.json").unlink()
    study.run([first, second], 2)  # nothing is left to do
    assert (tmp_path / "kept" / "summary.json").read_text() == "1"
    assert capfd.readouterr().out.count(" -c ") == 3


def test_files_are_kept_but_for_the_images_of_a_stream(tmp_path):
    (tmp_path / "attack.json").write_text("{}")
    task = study.Task("attack", ["python", str(tmp_path / "attack.json")], tmp_path / "kept")
    assert task.done
    study.keep(task)
    assert (tmp_path / "kept" / "attack.json").read_text() == "{}"
    x = np.zeros((2, 3, 1, 1), np.float32)
    np.savez(tmp_path / "s.npz", x=x, y=[1, 2], kind=["input", "adversarial"], origin=[7, 3])
    study.keep(study.Task("the stream", ["python", str(tmp_path / "s.npz")], tmp_path / "stream"))
    assert [path.name for path in (tmp_path / "stream").iterdir()] == ["stream.csv"]
    text = (tmp_path / "stream" / "stream.csv").read_text()
    assert text == "kind,origin\ninput,7\nadversarial,3\n"


def test_a_training_is_kept_with_the_digests_that_certificates_have(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "TRAINED", tmp_path / "trained")
    network = digits_cnn().eval()
    run = tmp_path / "run"
    run.mkdir()
    config = {"kind": "train", "arch": "digits-cnn", "num_classes": 10, "input_shape": [1, 8, 8]}
    (run / "config.json").write_text(json.dumps(config | {"sigma": 0.25, "noise": "gaussian"}))
    save_file(network.state_dict(), run / "weights.safetensors")
    study.keep(study.Task("model m", ["ddrs", str(run)], tmp_path / "trained" / "m"))
    kept = json.loads((tmp_path / "trained" / "m" / "classifiers.json").read_text())
    assert kept["fp32"] == NoisyClassifier(network, 10, Gaussian()).digest
    compiled = NoisyClassifier(network, 10, Gaussian(), compile=True)
    assert kept["fp32, compiled"] == compiled.digest
    assert len({*kept.values()}) == 4


def test_certificates_are_of_the_trainings_that_are_kept():
    rows = [entry for entry in read_study(study.PLAN, study.RESULTS) if entry.test]
    held = 0
    for entry in rows:
        for one in filter(None, (entry.test, entry.validation, entry.confirmation)):
            form = f"{one.config.precision}, compiled"
            for model, digest in one.digests.items():
                file = study.TRAINED / model / "classifiers.json"
                if file.exists():  # trainings that were recorded earlier have none
                    assert json.loads(file.read_text())[form] == digest, (entry.name, model)
                    held += 1
    assert held


def test_what_is_prepared_can_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(study, "split", lambda count, _, seed: split(count, 4, seed))
    limit = study.read(study.PLAN / "study.toml")["certify"]["limit"]
    sources = tmp_path / "sources"
    sources.mkdir()
    pixels = np.zeros((limit + 3, 8, 8, 3), np.uint8)
    labels = [0, 1] * (limit // 2) + [0, 1, 0]
    for name, rows in (("train", 12), ("test", limit + 3)):
        write_parquet(sources / f"{name}.parquet", pixels[:rows], labels[:rows])
    weights = sources / "weights"
    weights.write_bytes(b"weights")
    for _ in range(2):  # again, over what is there
        study.prepare(sources, weights)
    assert "figures will differ" in capsys.readouterr().out
    assert (tmp_path / "runs" / "resnet20.safetensors").read_bytes() == b"weights"
    sizes = {
        (name, kind): len(data.load(f"parquet:{tmp_path / 'runs' / name}", kind))
        for name, kind in (
            ("data", "train"), ("data", "test"), ("validation", "test"), ("confirmation", "test"),
        )
    }  # fmt: skip
    assert [*sizes.values()] == [12, limit + 3, 4, 3]
