import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.errors import DataError
from ddrs.evaluation.summary import summarise
from ddrs.runs.logs import write_log
from ddrs.runs.rows import CertifiedRow, LoggedRow
from ddrs.runs.table import (
    EvaluatedRun,
    read_certificates,
    read_rows,
    read_run,
    read_runs,
    readable_runs,
)
from support.certified import certified

ROWS = [LoggedRow(0, 3, 3, 0.123456789, True, 1.5), LoggedRow(7, 2, -1, 0.0, False, 2.0)]
COLUMNS: dict[str, list[Any]] = {
    "index": [0, 7],
    "label": [3, 2],
    "prediction": [3, -1],
    "radius": [0.123456789, 0.0],
    "correct": [True, False],
    "sigma": [0.25, 0.3],
    "seconds": [1.5, 2.0],
    "input_digest": ["a", "b"],
}
CERTIFIED = [certified(index=0, sigma=0.25), certified(index=7, sigma=0.3, correct=False)]
SUMMARY = summarise(CERTIFIED, seconds=3.5, memory_entries=2, alone=False)


def make_run(
    path: Path, columns: dict[str, list[Any]] = COLUMNS, summary: object | None = None
) -> Path:
    path.mkdir(parents=True)
    pq.write_table(pa.table(columns), path / "certificates.parquet")
    if summary is not None:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def without(name: str) -> dict[str, list[Any]]:
    return {key: values for key, values in COLUMNS.items() if key != name}


def columns(rows: list[CertifiedRow]) -> dict[str, list[Any]]:
    plain = [row.to_row() for row in rows]
    return {name: [row[name] for row in plain] for name in plain[0]}


def test_a_run_directory_gives_exact_rows_and_sigmas(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", columns(CERTIFIED))

    assert read_rows(run) == read_certificates(run) == CERTIFIED
    assert read_run(str(run)).sigmas == [0.25, 0.3]


def test_a_table_of_what_a_comparison_needs_is_enough_for_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")

    assert read_rows(run) == ROWS
    assert read_run(run).sigmas is None
    with pytest.raises(DataError, match="no column clean_prediction"):
        read_certificates(run)


def test_a_time_for_each_input_is_not_needed(tmp_path: Path) -> None:
    rows = read_rows(make_run(tmp_path / "run", without("seconds")))

    assert [row.seconds for row in rows] == [None, None]


def test_a_log_gives_rows_and_no_sigmas(tmp_path: Path) -> None:
    log = tmp_path / "sigma_0.25"
    write_log(ROWS, log)

    assert [row.radius for row in read_rows(log)] == [0.1234, 0.0]
    assert read_run(log) == EvaluatedRun("sigma_0.25", read_rows(log), None)
    assert read_run(log).sigmas is None


def test_a_run_comes_with_its_name_and_summary(tmp_path: Path) -> None:
    stored = SUMMARY.to_json() | {"later": {"0.50": 0.0}}  # of a later version

    run = make_run(tmp_path / "ds", summary=stored)
    assert read_run(run) == EvaluatedRun("ds", ROWS, SUMMARY)
    unfinished = make_run(tmp_path / "unfinished")
    assert read_run(unfinished) == EvaluatedRun("unfinished", ROWS, None)


def test_the_current_directory_has_a_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_run(tmp_path / "ds"))

    assert read_run(".").name == "ds"
    assert read_runs(["."]) == [EvaluatedRun("ds", ROWS, None)]


def test_names_take_what_tells_the_runs_apart(tmp_path: Path) -> None:
    logs = [tmp_path / f"noise_{s}" / "test" / "sigma_0.25.tsv" for s in ("0.12", "0.25")]
    for log in logs:
        log.parent.mkdir(parents=True)
        write_log(ROWS, log)
    run = make_run(tmp_path / "ds")

    assert [one.name for one in read_runs([logs[0], run])] == ["sigma_0.25", "ds"]
    assert [run.name for run in read_runs(logs)] == [
        "noise_0.12/test/sigma_0.25",
        "noise_0.25/test/sigma_0.25",
    ]
    assert len(read_runs([run, run])) == 2
    assert read_runs([]) == []


@pytest.mark.parametrize("column", ["index", "label", "prediction", "radius", "correct"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    run = make_run(tmp_path / "run", without(column))

    with pytest.raises(DataError, match=rf"certificates\.parquet has no column {column}$"):
        read_rows(run)


def test_an_empty_cell_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", COLUMNS | {"radius": [0.5, None]})

    with pytest.raises(DataError, match="empty cells in column radius"):
        read_rows(run)


def test_directories_that_are_no_finished_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no certificates\.parquet"):
        read_rows(tmp_path)
    (tmp_path / "certificates.parquet").mkdir()
    with pytest.raises(DataError, match="damaged"):
        read_rows(tmp_path)


def test_a_cut_off_parquet_file_is_one_clear_error(tmp_path: Path) -> None:
    file = make_run(tmp_path / "run") / "certificates.parquet"
    content = file.read_bytes()[:-10]
    file.write_bytes(content)

    with pytest.raises(DataError, match="damaged or not a parquet file"):
        read_certificates(file.parent)

    assert file.read_bytes() == content


def test_a_summary_of_other_rows_is_refused(tmp_path: Path) -> None:
    other = make_run(tmp_path / "run", summary=SUMMARY.to_json() | {"inputs": 3})

    with pytest.raises(DataError, match="not the summary of the 2 inputs"):
        read_run(other)


@pytest.mark.parametrize(
    "changes", [{"inputs": "2"}, {"sound_together": "false"}, {"sigma": {"min": 0.1}}]
)
def test_a_summary_with_other_values_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", summary=SUMMARY.to_json() | changes)

    with pytest.raises(
        DataError, match=rf"not the summary of a certification .*{next(iter(changes))}"
    ):
        read_run(run)


@pytest.mark.parametrize("summary", [{}, [2], None])
def test_what_is_no_summary_is_refused(tmp_path: Path, summary: object) -> None:
    run = make_run(tmp_path / "run")
    (run / "summary.json").write_text(json.dumps(summary))

    with pytest.raises(DataError, match="not the summary of a certification"):
        read_run(run)


def test_a_damaged_summary_is_one_clear_error(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "summary.json").write_text('{"inputs": 2')

    with pytest.raises(DataError, match="not readable JSON"):
        read_run(run)


HEADER = "idx\tlabel\tpredict\tradius\n"
FAULTY = {
    "header-only": (HEADER, "has a header and no inputs"),
    "cut-off": (HEADER + "0\t3\t3\t0.5\n1\t3", "line 3: 2 columns"),
    "linf": (
        HEADER.replace("radius", "linf_radius") + "0\t3\t3\t0.5\n",
        "radii in linf, not in l2",
    ),
}


def write_logs(folder: Path, texts: dict[str, str]) -> list[Path]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


@pytest.mark.parametrize("kind", FAULTY)
def test_one_log_that_cannot_stand_with_the_others_stops_nothing(tmp_path: Path, kind: str) -> None:
    text, message = FAULTY[kind]
    good = HEADER + "0\t3\t3\t0.5\n"
    paths = write_logs(tmp_path, {"a": good, "bad": text, "b": good})

    runs, passed_over = readable_runs(paths)

    assert [run.name for run in runs] == ["a", "b"]
    assert list(passed_over) == [paths[1]]
    assert message in passed_over[paths[1]]
    assert str(paths[1]) in passed_over[paths[1]]


def test_a_table_may_be_in_any_norm(tmp_path: Path) -> None:
    linf = FAULTY["linf"][0]
    paths = write_logs(tmp_path, {"a": linf, "b": linf, "c": HEADER + "0\t3\t3\t0.5\n"})

    runs, passed_over = readable_runs(paths)

    assert [run.norm for run in runs] == ["linf", "linf"]
    assert "radii in no stated norm, not in linf" in passed_over[paths[2]]


@pytest.mark.parametrize("first", ["l2", "linf"])
def test_the_norm_of_a_table_is_that_of_most(tmp_path: Path, first: str) -> None:
    good = HEADER + "0\t3\t3\t0.5\n"
    texts = {"a": FAULTY["linf"][0], "b": good, "c": good}
    if first == "l2":
        texts = {"b": good, "a": texts["a"]}

    runs, passed_over = readable_runs(write_logs(tmp_path, texts))

    assert {run.name for run in runs} == set(texts) - {"a"}
    assert list(passed_over) == [tmp_path / "a"]


def test_where_nothing_can_be_read_the_first_is_named(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, {"a": HEADER, "b": HEADER})

    for some, end in ((paths, "; and 1 more like it"), (paths[:1], "or failed")):
        with pytest.raises(DataError, match=f"a has a header and no inputs.*{end}$"):
            readable_runs(some)
    with pytest.raises(DataError, match="cannot read the log"):
        readable_runs([*paths, tmp_path / "a typing error"])


def test_a_log_with_a_column_of_sigmas_has_them(tmp_path: Path) -> None:
    (log,) = write_logs(tmp_path, {"a": "label,predict,radius,sigma\n3,3,1,.5\n3,3,1,.25\n"})

    assert read_run(log).sigmas == [0.5, 0.25]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_is_not_repeated(kind):
    for url in ("postgresql://user:secret@host/db?password=secret", "https://host/x?key=secret"):
        for read in (read_rows, read_run, lambda path: read_runs([path])):
            with pytest.raises(DataError, match="looks like a URL") as caught:
                read(kind(url))
            assert "secret" not in str(caught.value)
