import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
import pytest

from ddrs.errors import ConfigurationError, RunError
from ddrs.runs.decoding import decode
from ddrs.runs.directory import Run, read_config
from ddrs.runs.files import CERTIFICATES, JOURNAL
from ddrs.runs.table import summary_json
from support.certified import certified


@dataclass(frozen=True)
class Config:
    """What a run may be made for."""

    n: int = 10
    alpha: float = 0.1
    seed: int | None = 7
    radii: tuple[float, ...] = (0.5,)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "test", **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return decode(cls, data)


class Figures:
    """What may come of a run."""

    def to_json(self) -> dict[str, Any]:
        return {"inputs": 5}


CONFIG = Config()
ROWS = [certified(index=i, radius=0.1 * i + 1e-17) for i in range(5)]


def test_rows_come_back_bit_for_bit_and_in_order(tmp_path: Path) -> None:
    with Run(tmp_path / "run", CONFIG) as run:
        assert not run.resumed
        run.append(ROWS[3:])
        run.append(ROWS[:3])
        assert run.rows() == ROWS
        run.finish(Figures())
    with Run(tmp_path / "run", CONFIG) as run:
        assert run.resumed
        assert summary_json(run.path) == {"inputs": 5}
        assert run.rows() == ROWS
    table = pq.read_table(tmp_path / "run" / CERTIFICATES).to_pylist()
    assert table == [row.to_row() for row in ROWS]
    assert not (tmp_path / "run" / JOURNAL).exists()


def test_a_line_that_was_cut_short_is_dropped_and_written_anew(tmp_path: Path) -> None:
    with Run(tmp_path, CONFIG) as run:
        run.append(ROWS[:2])
        with open(tmp_path / JOURNAL, "ab") as file:
            file.write(json.dumps(ROWS[2].to_row()).encode()[:-3])
    with Run(tmp_path, CONFIG) as run:
        assert run.rows() == ROWS[:2]
        run.append(ROWS[2:])
        assert run.rows() == ROWS


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    with Run(tmp_path, CONFIG) as run:
        for text in ("{nonsense}\n", '{"index": 0}\n', "3\n"):
            (tmp_path / JOURNAL).write_text(text)
            with pytest.raises(RunError, match="damaged"):
                run.rows()


@pytest.mark.parametrize(("key", "value"), [("n", 11), ("alpha", 0.2), ("radii", ()), ("seed", 8)])
def test_another_configuration_is_refused_and_the_run_is_kept(
    tmp_path: Path, key: str, value: float
) -> None:
    with Run(tmp_path, CONFIG) as run:
        run.append(ROWS)
    with pytest.raises(RunError, match=f"another configuration.*{key}"):
        Run(tmp_path, replace(CONFIG, **{key: value}))
    with Run(tmp_path, CONFIG) as run:
        assert run.rows() == ROWS


def test_a_key_that_was_not_written_yet_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "test", "n": 10, "seed": 7}')
    Run(tmp_path, CONFIG).close()
    with pytest.raises(RunError, match=r"alpha: 0\.1 not 0\.2\)"):
        Run(tmp_path, replace(CONFIG, alpha=0.2))


def test_a_configuration_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "other", "n": "all", "result": 3}')
    with pytest.raises(RunError, match=r"kind: 'other' not 'test', n: 'all' not 10"):
        Run(tmp_path, CONFIG)


def test_a_seed_is_drawn_once_and_kept(tmp_path: Path) -> None:
    asked = replace(CONFIG, seed=None)
    with Run(tmp_path / "a", asked) as run:
        seed = run.config.seed
    with Run(tmp_path / "a", asked) as run:
        assert run.config.seed == seed
    with Run(tmp_path / "b", asked) as run:
        assert run.config.seed != seed
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


def test_what_a_kill_leaves_is_no_hindrance(tmp_path: Path) -> None:
    left = tmp_path / "config.json.0123abcd.partial"
    old = tmp_path / "config.json.partial"
    for file in (left, old):
        file.write_text("{")
    with Run(tmp_path, CONFIG) as run:
        assert not run.resumed
    assert not left.exists()
    assert old.read_text() == "{"


def test_an_empty_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="empty"):
        Run("", CONFIG)
    assert not list(tmp_path.iterdir())


def test_the_journal_is_no_link_and_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with Run(tmp_path / "run", CONFIG) as run:
        journal = run.path / JOURNAL
        journal.symlink_to(tmp_path / "mine")
        for call in (run.rows, lambda: run.append(ROWS)):
            with pytest.raises(RunError, match="it is a link"):
                call()
        journal.unlink()
        os.mkfifo(journal)
        for call in (run.rows, lambda: run.append(ROWS)):
            with pytest.raises(RunError, match="pipe, device or socket"):
                call()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_url_is_not_repeated(tmp_path: Path) -> None:
    text = '{"kind": "test", "n": "all", "memory": "postgresql://me@host/db?x=secret"}'
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"memory: another URL not None") as caught:
        Run(tmp_path, CONFIG)
    assert "secret" not in str(caught.value)
