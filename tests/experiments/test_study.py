"""The files of the study name commands that exist, and are carried out in an order that works."""

import importlib.util
import sys
from pathlib import Path

import pytest
import typer

from ddrs.cli import app

STUDY = Path(__file__).parents[2] / "experiments" / "cifar10" / "study.py"
SPEC = importlib.util.spec_from_file_location("study", STUDY)
study = importlib.util.module_from_spec(SPEC)
sys.modules["study"] = study  # dataclasses look their module up
SPEC.loader.exec_module(study)

TASKS = study.tasks([])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_command_has_the_options_of_its_files(task):
    _, name, *words = task.words
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, words)  # raises on an unknown option or a bad value


def test_every_file_is_used_once_and_after_what_it_needs():
    names = [task.name for task in TASKS]
    assert len(names) == len(set(names))
    for folder in ("rows", "models"):
        for path in (study.HERE / folder).glob("*.toml"):
            assert (path.stem if folder == "rows" else f"model {path.stem}") in names
    for place, task in enumerate(TASKS):
        assert all(TASKS.index(one) < place for one in task.after)
    assert len({task.out for task in TASKS}) == len(TASKS)


def test_a_row_brings_its_models_and_an_unknown_one_is_refused():
    words = [task.name for task in study.tasks(["macer-ds2-0.5"])]
    assert words == [
        "model gaussian-dd-0.25",
        "model gaussian-dd-0.5",
        "model macer-dd-0.5",
        "macer-ds2-0.5",
        "macer-ds2-0.5 on validation inputs",
    ]
    with pytest.raises(SystemExit, match="no such row: magic"):
        study.tasks(["magic"])


def write(out, more="pass"):
    """A command that writes the summary of a run directory."""
    code = f"import pathlib; {more}; p = pathlib.Path({str(out)!r}); p.mkdir(parents=True)"
    return ["-c", f"{code}; (p / 'summary.json').write_text('1')", str(out)]


def test_tasks_run_in_order_and_what_failed_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(study, "COMMAND", [sys.executable])
    first = study.Task("first", write(tmp_path / "first"), tmp_path / "kept")
    check = f"assert pathlib.Path({str(tmp_path / 'first')!r}).exists()"
    words = write(tmp_path / "second", check)
    second = study.Task("second", words, tmp_path / "kept" / "second", [first])
    words = ["-c", "raise SystemExit(3)", str(tmp_path / "third")]
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
