import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.errors import DataError, InputError, RunError
from ddrs.runs.logs import read_log, write_log
from ddrs.runs.rows import LoggedRow

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"

rows_strategy = st.lists(
    st.builds(
        lambda index, label, prediction, radius, seconds: LoggedRow(
            index, label, prediction, radius, label == prediction, seconds
        ),
        index=st.integers(0, 10**9),
        label=st.integers(0, 999),
        prediction=st.integers(-1, 999),
        radius=st.floats(0, 1e6),
        seconds=st.none() | st.floats(0, 1e6),
    ),
    max_size=20,
    unique_by=lambda row: row.index,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_both_forms_of_time_are_read(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.tsv",
        HEADER
        + "0\t3\t-1\t0.0\t0\t0:00:13.736080\n"
        + "20\t7\t7\t0.0734\t1\t15.4\n"
        + "40\t8\t8\t1.2e-05\t1\t2:03:04\n"
        + "60\t8\t2\t0.5\t0\t1 day, 0:00:01.5\n"
        + "80\t8\t8\t3\t1\t12 days, 1:00:00\n"
        + "100\t8\t8\t3.\t1\tnan\n",
    )

    assert read_log(log) == [
        LoggedRow(0, 3, -1, 0.0, False, 13.73608),
        LoggedRow(20, 7, 7, 0.0734, True, 15.4),
        LoggedRow(40, 8, 8, 1.2e-05, True, 7384.0),
        LoggedRow(60, 8, 2, 0.5, False, 86401.5),
        LoggedRow(80, 8, 8, 3.0, True, 12 * 86400 + 3600.0),
        LoggedRow(100, 8, 8, 3.0, True, None),
    ]


def test_other_columns_and_another_order_do_no_harm(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.tsv",
        "\ufeffidx\tn\tpredict\tlabel\tradius\tcorrect\ttime\r\n5\t0.5\t2\t2\t0.1\t1\t1.5\r\n\r\n",
    )

    assert read_log(str(log)) == [LoggedRow(5, 2, 2, 0.1, True, 1.5)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4\t1\t1\t0.5\t1", "5 columns where the header has 6"),
        ("4\t1\t1\t0.", "cut off"),
        ("4\t1\t1\t0.5\t1\t", "time is ''"),
        ("4\t1\t1\t0.5\t1\t0:00:7", "time is '0:00:7'"),
        ("4\t1\t1\t0.5\t1\t-1 day, 1:00:00", "time is"),
        ("four\t1\t1\t0.5\t1\t9", "idx is 'four'"),
        ("4\t1.5\t1\t0.5\t1\t9", "label is '1.5'"),
        ("4\t1\t\t0.5\t1\t9", "predict is ''"),
        ("4\t1\t1\twide\t1\t9", "radius is 'wide'"),
        ("4\t1\t1\t-0.5\t1\t9", "radius is '-0.5'"),
        ("4\t1\t1\tnan\t1\t9", "radius is 'nan'"),
        ("4\t1\t1\t1e999\t1\t9", "radius is '1e999'"),
        ("4\t1\t1\t1_0\t1\t9", "radius is '1_0'"),
        ("4\t1\t1\t0.5\tyes\t9", "correct is 'yes'"),
        ("4\t1\t2\t0.5\tTrue\t9", "correct is 1 but label is 1 and predict is 2"),
        ("4\t1\t2\t0.5\t1\t9", "correct is 1 but label is 1 and predict is 2"),
        ("4\t1\t1\t0.5\t7\t9", "correct is 7"),
        ("0\t1\t1\t0.5\t1\t9", "input 0 is already on line 2"),
        ("idx\tlabel\tpredict\tradius\tcorrect\tn0", "label is 'label'"),
        ("9" * 5000 + "\t1\t1\t0.5\t1\t9", "idx is '9999"),
        ("4\t1\t1\t0.5\t1\t" + "9" * 5000 + ":00:00", "time is '9999"),
        ('"4\t1\t1\t0.5\t1\t' + "9" * 200_000, "field larger than field limit"),
        ("4\t\x1b[31m\t1\t0.5\t1\t9", r"label is '\x1b[31m'"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    text = HEADER + "0\t3\t3\t0.25\t1\t9\n" + line
    log = write(tmp_path / "log.tsv", text)

    with pytest.raises(DataError) as caught:
        read_log(log)

    assert str(caught.value).startswith(f"{log}, line 3: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert log.read_text() == text


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("idx\tlabel\tpredict\tcorrect\ttime\n", "radius"),
        ("idx\tlabel\tpre", "predict, radius"),
        ("idx\tpABar_item\tradius_A\tradius_B\tcorrect\ttime\n", "label, predict, radius"),
        ('{"rows": []}\n', "label, predict, radius"),
        ("what\tever\n", "label, predict, radius"),
    ],
)
def test_a_missing_column_is_named(tmp_path: Path, text: str, missing: str) -> None:
    log = write(tmp_path / "log.tsv", text)

    with pytest.raises(DataError, match=rf"line 1: no column {missing}"):
        read_log(log)


def test_files_that_are_no_logs_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00PAR1")

    with pytest.raises(DataError, match="not a text file"):
        read_log(binary)
    with pytest.raises(DataError, match="is empty"):
        read_log(write(tmp_path / "empty.tsv", "\n"))
    with pytest.raises(DataError, match=r"cannot read the log .*No such file"):
        read_log(tmp_path / "nowhere.tsv")


def test_the_form_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log.tsv"

    write_log([LoggedRow(7, 3, 3, 0.52769, True, 13.5), LoggedRow(8, 2, -1, 0.0, False)], path)

    assert path.read_bytes() == (
        HEADER + "7\t3\t3\t0.5276\t1\t13.500000\n8\t2\t-1\t0.0000\t0\tnan\n"
    ).encode("ascii")


@given(rows=rows_strategy)
def test_a_round_trip_never_raises_a_radius(
    tmp_path_factory: pytest.TempPathFactory, rows: list[LoggedRow]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    write_log(rows, folder / "once.tsv")
    once = read_log(folder / "once.tsv")
    write_log(once, folder / "twice.tsv")

    assert [(r.index, r.label, r.prediction, r.correct) for r in once] == [
        (r.index, r.label, r.prediction, r.correct) for r in rows
    ]
    for before, after in zip(rows, once, strict=True):
        assert before.radius - 1.0001e-4 <= after.radius <= before.radius
        assert after.seconds == pytest.approx(before.seconds, abs=1e-6)
    assert (folder / "twice.tsv").read_text() == (folder / "once.tsv").read_text()


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path / "log.tsv", "earlier result")

    with pytest.raises(RunError, match="exists already"):
        write_log([LoggedRow(0, 1, 1, 0.5, True)], path)

    assert path.read_text() == "earlier result"


@pytest.mark.parametrize("radius", [float("nan"), float("inf"), -0.5])
def test_a_radius_that_cannot_be_leaves_no_file(tmp_path: Path, radius: float) -> None:
    with pytest.raises(InputError, match="input 4 has radius"):
        write_log(
            [LoggedRow(0, 1, 1, 0.5, True), LoggedRow(4, 1, 1, radius, True)], tmp_path / "log.tsv"
        )

    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write the log .*No such file"):
        write_log([], tmp_path / "nowhere" / "log.tsv")


def test_a_log_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path: Path) -> None:
    rows = [LoggedRow(index, 1, 1, 0.5, True) for index in range(1000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(RunError, match="cannot write the log"):
            write_log(rows, tmp_path / "log.tsv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.tsv")
    with pytest.raises(DataError, match="pipe, device or socket"):
        read_log(tmp_path / "log.tsv")
