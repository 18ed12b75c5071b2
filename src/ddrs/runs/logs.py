"""Per-input logs in the tab-separated form of Cohen et al.'s published runs (locuslab/smoothing).

A header `idx label predict radius correct time`, then one line per input. `time` is seconds, or
Python's `str(timedelta)`: `0:00:13.736080`, `1 day, 2:03:04`.
"""

import re
from collections.abc import Iterable
from math import isfinite
from pathlib import Path

from ddrs.display.rounding import rounded_down
from ddrs.errors import DataError, InputError, RunError
from ddrs.files import cannot_write, check_file
from ddrs.runs.rows import LoggedRow, Row

__all__ = ["read_log", "write_log"]

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
RADIUS_DIGITS = 4

_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.IGNORECASE)
_DURATION = re.compile(r"(?:([0-9]+) days?, )?([0-9]+):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")


def read_log(path: str | Path) -> list[LoggedRow]:
    """Read a log, in the order of its lines.

    Columns are found by their names, so further columns do no harm.

    Args:
        path: the log.

    Returns:
        One row per line; `seconds` is None where the time is `nan`.

    Raises:
        DataError: the file cannot be read, lacks a column, is cut off, repeats an input, or has a
            line that is not numbers or contradicts itself; with file and line.
    """
    try:
        check_file(path)
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file, so it is not a certification log") from error
    except OSError as error:
        raise DataError(f"cannot read the log {path}: {error.strerror}") from error
    header = lines[0].split("\t") if lines else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {', '.join(missing)}; a log starts with the tab-separated "
            f"header {' '.join(COLUMNS)}"
        )
    rows: list[LoggedRow] = []
    first_seen: dict[int, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            row = _parse(header, line)
            if row.index in first_seen:
                raise ValueError(f"input {row.index} is already on line {first_seen[row.index]}")
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        first_seen[row.index] = number
        rows.append(row)
    return rows


def write_log(rows: Iterable[Row], path: str | Path) -> None:
    """Write a log that the scripts of locuslab/smoothing, and `read_log`, can read.

    Radii are rounded down to four decimals; an unknown time is written as `nan`.

    Args:
        rows: the evaluated inputs, in the order wanted.
        path: a file that does not exist yet.

    Raises:
        InputError: a row whose radius is not finite or is negative; nothing is written.
        RunError: the file exists already, or cannot be written; an existing file is left alone.
    """
    text = "\n".join(["\t".join(COLUMNS), *(_line(row) for row in rows), ""])
    created = False
    try:
        with Path(path).open("x", encoding="utf-8", newline="\n") as file:
            created = True
            file.write(text)
    except FileExistsError as error:
        raise RunError(f"{path} exists already: choose another name or move it away") from error
    except OSError as error:
        if created:
            Path(path).unlink(missing_ok=True)  # a partial log would pass for a shorter run
        raise RunError(cannot_write("log", path, error)) from error


def _line(row: Row) -> str:
    if not (isfinite(row.radius) and row.radius >= 0):
        raise InputError(f"input {row.index} has radius {row.radius}: it must be finite and >= 0")
    seconds = "nan" if row.seconds is None else f"{row.seconds:.6f}"
    radius = rounded_down(row.radius, RADIUS_DIGITS)
    return f"{row.index}\t{row.label}\t{row.prediction}\t{radius}\t{row.correct:d}\t{seconds}"


def _parse(header: list[str], line: str) -> LoggedRow:
    fields = line.split("\t")
    if len(fields) != len(header):
        raise ValueError(
            f"{len(fields)} columns where the header has {len(header)}; is the line cut off?"
        )
    cell = dict(zip(header, fields, strict=True))
    label, prediction = _integer(cell, "label"), _integer(cell, "predict")
    correct = _integer(cell, "correct")
    if correct != (label == prediction):
        raise ValueError(f"correct is {correct} but label is {label} and predict is {prediction}")
    return LoggedRow(
        index=_integer(cell, "idx"),
        label=label,
        prediction=prediction,
        radius=_number("radius", cell["radius"]),
        correct=bool(correct),
        seconds=_seconds(cell["time"]),
    )


def _integer(cell: dict[str, str], name: str) -> int:
    if not _INTEGER.fullmatch(cell[name]):
        raise ValueError(f"{name} is {cell[name]!r}, expected a whole number")
    return int(cell[name])


def _number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text) or not isfinite(float(text)):
        raise ValueError(f"{name} is {text!r}, expected a number of at least 0")
    return float(text)


def _seconds(text: str) -> float | None:
    if text == "nan":
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        return _number("time", text)
    days, hours, minutes, seconds = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
