import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ddrs.errors import RunError
from ddrs.runs.directory import CERTIFICATES, JOURNAL, Run, read_config

CONFIG = {"kind": "certify", "n": 10, "alpha": 0.1, "seed": 7}
ROWS = [{"index": i, "radius": 0.1 * i + 1e-17, "outcome": "own"} for i in range(5)]


def test_rows_come_back_bit_for_bit_and_in_order(tmp_path: Path) -> None:
    with Run(tmp_path / "run", CONFIG) as run:
        assert not run.resumed
        run.append(ROWS[3:])
        run.append(ROWS[:3])
        assert run.rows() == ROWS
        run.finish({"inputs": 5})
    with Run(tmp_path / "run", CONFIG) as run:
        assert run.resumed
        assert run.summary == {"inputs": 5}
        assert run.rows() == ROWS
    assert pq.read_table(tmp_path / "run" / CERTIFICATES).to_pylist() == ROWS
    assert not (tmp_path / "run" / JOURNAL).exists()


def test_a_line_that_was_cut_short_is_dropped_and_written_anew(tmp_path: Path) -> None:
    with Run(tmp_path, CONFIG) as run:
        run.append(ROWS[:2])
        with open(tmp_path / JOURNAL, "ab") as file:
            file.write(json.dumps(ROWS[2]).encode()[:-3])
    with Run(tmp_path, CONFIG) as run:
        assert run.rows() == ROWS[:2]
        run.append(ROWS[2:])
        assert run.rows() == ROWS


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    with Run(tmp_path, CONFIG) as run:
        (tmp_path / JOURNAL).write_text("{nonsense}\n")
        with pytest.raises(RunError, match="damaged"):
            run.rows()


@pytest.mark.parametrize(("key", "value"), [("n", 11), ("alpha", 0.2), ("new", 1), ("seed", 8)])
def test_another_configuration_is_refused_and_the_run_is_kept(
    tmp_path: Path, key: str, value: float
) -> None:
    with Run(tmp_path, CONFIG) as run:
        run.append(ROWS)
    with pytest.raises(RunError, match=f"another configuration.*{key}"):
        Run(tmp_path, {**CONFIG, key: value})
    with Run(tmp_path, CONFIG) as run:
        assert run.rows() == ROWS


def test_a_seed_is_drawn_once_and_kept(tmp_path: Path) -> None:
    asked = {**CONFIG, "seed": None}
    with Run(tmp_path / "a", asked) as run:
        seed = run.config["seed"]
    with Run(tmp_path / "a", asked) as run:
        assert run.config["seed"] == seed
    with Run(tmp_path / "b", asked) as run:
        assert run.config["seed"] != seed
    assert read_config(tmp_path / "a")["seed"] == seed


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not a run directory"):
        Run(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        Run(tmp_path / "run", CONFIG)


def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(RunError, match="cannot write"):
        Run("/proc/no-run-can-be-here", CONFIG)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Run(tmp_path, CONFIG), pytest.raises(RunError, match="in use"):
        Run(tmp_path, CONFIG)
    Run(tmp_path, CONFIG).close()


def _fill_up(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run = Run(path, CONFIG)
    run.append(ROWS[:2])
    used = (path / JOURNAL).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (used + 30, used + 30))
    try:
        run.append(ROWS[2:])
    except RunError as error:
        os._exit(0 if "is kept" in str(error) else 3)
    os._exit(4)


def test_a_full_disk_is_one_error_and_the_rows_before_it_are_kept(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_up, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    with Run(tmp_path, CONFIG) as run:
        assert run.rows() == ROWS[:2]
        run.append(ROWS[2:])
        assert run.rows() == ROWS


@pytest.mark.parametrize("text", [None, "", "[1]", '{"kind": "cer'])
def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"config\.json"):
        read_config(tmp_path)
