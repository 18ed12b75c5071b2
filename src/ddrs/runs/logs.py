"""Per-input logs in the forms that the field publishes; the one of locuslab/smoothing is written.

That one has a header `idx label predict radius correct time` and tabs; `time` is seconds, or
Python's `str(timedelta)`: `0:00:13.736080`, `1 day, 2:03:04`. docs/logs.md lists the others.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from ddrs.display.rounding import rounded_down
from ddrs.errors import DataError, InputError, RunError
from ddrs.files import cannot_write, check_file
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.checking import shown
from ddrs.runs.log_columns import LAYOUTS, Columns, named_columns, norm_named, separator_of, split
from ddrs.runs.rows import LoggedRow, Row

__all__ = ["PublishedLog", "read_log", "read_published", "write_log"]

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
RADIUS_DIGITS = 4
LARGEST_FILE = 2**28  # bytes; a line for each of ImageNet's test images takes a hundredth

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)
_NONE = re.compile(r"-?(?:nan|inf)|none|", re.IGNORECASE)
_WRAPPED = re.compile(r"tensor\(\[?([^,\[\]()]*)\]?(?:,[^()]*)?\)|\[([^,\[\]]*)\]")
_DURATION = re.compile(
    r"(?:([0-9]{1,9}) days?,? )?([0-9]{1,9}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)"
)
_TRUTHS = {"true": 1, "false": 0}


@dataclass(frozen=True)
class PublishedLog:
    """A log, and what its form says beside the rows.

    Attributes:
        rows: one per input, in the order of the lines.
        norm: the norm that the name of the radius states: `"l2"`, `"linf"`, ...; None if none.
        indexed: whether the inputs are numbered; else their numbers are those of the lines.
        digits: the most significant digits that a radius is written with.
        decimals: the most decimals that a radius is written with.
    """

    rows: list[LoggedRow]
    norm: str | None
    indexed: bool
    digits: int
    decimals: int


def read_log(path: str | Path) -> list[LoggedRow]:
    """Read a log, in the order of its lines; see `read_published`.

    Args:
        path: the log.

    Returns:
        One row per line; `seconds` and `sigma` are None where the log does not say them.

    Raises:
        DataError: as `read_published`.
    """
    return read_published(path).rows


def read_published(path: str | Path) -> PublishedLog:
    """Read a log and what its form says.

    Columns are found by their names; further columns do no harm. Without a header they are told by
    their number and by what they hold. Any prediction below 0 is an abstention.

    Raises:
        DataError: the file cannot be read, lacks a column, is cut off, repeats an input, or has a
            line that is not numbers or contradicts itself; with file and line.
    """
    lines = _lines(path)
    if not lines:
        raise DataError(f"{path} is empty, so it is not a certification log")
    number, first = lines[0]
    separator = separator_of(first)
    try:
        header = split(first, separator)
        header = header[:-1] if header[-1] == "" and len(header) > 1 else header
        columns = named_columns(header)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}") from error
    if columns is not None:
        return _read(path, [line for line in lines if line[1] != first], separator, columns)
    fits = [layout for layout in LAYOUTS if len(layout) == len(header)]
    if not fits:
        raise DataError(
            f"{path}, line {number}: no header, and {len(header)} columns could be anything: put "
            "their names on the first line, as in `idx label predict radius correct time`"
        )
    found: list[PublishedLog] = []
    faults: list[DataError] = []
    for layout in fits:
        at = {role: position for position, role in enumerate(layout)}
        try:
            found.append(_read(path, lines, separator, Columns(at, len(layout))))
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0].saying(f"{faults[0]} (read without a header, as {' '.join(fits[0])})")
    if len(found) > 1:
        raise DataError(
            f"{path} has no header and can be read in {len(found)} ways: put the names of its "
            "columns on the first line, as in `label predict radius correct`"
        )
    return found[0]


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
    if row.label is None or row.correct is None:
        raise InputError(f"input {row.index} has no label, which this form of a log needs")
    seconds = "nan" if row.seconds is None else f"{row.seconds:.6f}"
    radius = rounded_down(row.radius, RADIUS_DIGITS)
    return f"{row.index}\t{row.label}\t{row.prediction}\t{radius}\t{row.correct:d}\t{seconds}"


def _lines(path: str | Path) -> list[tuple[int, str]]:
    """The lines that hold something, with their numbers; comments are left out."""
    try:
        check_file(path)
        if Path(path).stat().st_size > LARGEST_FILE:
            raise DataError(f"{path} is larger than any log, {LARGEST_FILE} bytes")
        content = Path(path).read_bytes()
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file, so it is not a certification log") from error
    except OSError as error:
        raise DataError(f"cannot read the log {path}: {error.strerror or error}") from error
    kept = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for at, (number, line) in enumerate(kept):  # NumPy writes a mark of comments before a header
        bare = line.lstrip("# \t")
        if bare == line:
            break
        if _is_header(bare):
            kept[at] = (number, bare)
            break
    return [(number, line) for number, line in kept if not line.startswith("#")]


def _is_header(line: str) -> bool:
    try:
        return named_columns(split(line, separator_of(line))) is not None
    except (ValueError, IndexError):
        return False


def _read(
    path: str | Path,
    lines: Sequence[tuple[int, str]],
    separator: str | None,
    columns: Columns,
) -> PublishedLog:
    rows: list[LoggedRow] = []
    corrects: list[int | None] = []
    norms: set[str | None] = set()
    first_seen: dict[int, int] = {}
    digits = decimals = 0
    number = 0
    try:
        for position, (number, line) in enumerate(lines):
            cell = _cells(line, separator, columns)
            row, correct = _parse(cell, position)
            if row.index in first_seen:
                raise ValueError(f"input {row.index} is already on line {first_seen[row.index]}")
            first_seen[row.index] = number
            rows.append(row)
            corrects.append(correct)
            norms.add(norm_named(cell["norm"]) if "norm" in cell else columns.norm)
            if row.radius > 0 and row.prediction != ABSTAIN:
                written = _written(cell["radius"])
                digits, decimals = max(digits, written[0]), max(decimals, written[1])
        if len(norms) > 1:
            raise ValueError("its radii are in more than one norm: give each norm a log of its own")
        at = _contradiction(rows, corrects)
        if at is not None:
            number, row = lines[at][0], rows[at]
            raise ValueError(
                f"correct is {corrects[at]} but label is {row.label} and predict is "
                f"{row.prediction}"
            )
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}") from error
    norm = norms.pop() if norms else columns.norm
    return PublishedLog(rows, norm, "index" in columns.at, digits, decimals)


def _cells(line: str, separator: str | None, columns: Columns) -> dict[str, str]:
    """Role -> cell of one line."""
    cells = split(line, separator)
    if len(cells) == 1 < columns.width:  # lines of another script than the header
        cells = split(line, separator_of(line))
    if len(cells) == columns.width + 1 and cells[-1] == "":
        cells.pop()
    if len(cells) != columns.width:
        raise ValueError(
            f"{len(cells)} columns where the header has {columns.width}; is the line cut off?"
        )
    return {role: _bare(cells[position]) for role, position in columns.at.items()}


def _bare(cell: str) -> str:
    """A cell without the `tensor(...)` or brackets that a script may print around a number."""
    match = _WRAPPED.fullmatch(cell)
    return cell if match is None else (match[1] or match[2] or "").strip()


def _parse(cell: dict[str, str], position: int) -> tuple[LoggedRow, int | None]:
    """A row, and what its column `correct` says."""
    label = _integer(cell, "label")
    prediction = ABSTAIN if cell["predict"].lower() == "abstain" else _integer(cell, "predict")
    if prediction < 0 or _truth(cell, "abstain"):
        prediction = ABSTAIN
    row = LoggedRow(
        index=_integer(cell, "index") if "index" in cell else position,
        label=label,
        prediction=prediction,
        radius=_radius(cell["radius"], prediction),
        correct=label == prediction != ABSTAIN,
        seconds=_seconds(cell["time"]) if "time" in cell else None,
        sigma=_sigma(cell["sigma"]) if "sigma" in cell else None,
    )
    return row, _truth(cell, "correct")


def _contradiction(rows: Sequence[LoggedRow], corrects: Sequence[int | None]) -> int | None:
    """Where `correct` is not what label and prediction say; None where it always is.

    It may be a running total too, which starts afresh where the parts of several processes meet.
    """
    wrong = [at for at, row in enumerate(rows) if corrects[at] not in (None, bool(row.correct))]
    if not wrong:
        return None
    total = 0
    for at, (row, correct) in enumerate(zip(rows, corrects, strict=True)):
        if correct not in (total + bool(row.correct), bool(row.correct)):
            return at
        total = correct or 0
    return None if max(filter(None, corrects), default=0) > 1 else wrong[0]


def _written(text: str) -> tuple[int, int]:
    """Significant digits and decimals of a number."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    return len((whole + fraction).lstrip("0")), max(0, len(fraction) - int(exponent or 0))


def _integer(cell: dict[str, str], name: str) -> int:
    text = cell[name]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text.removeprefix("-")) and abs(float(text)) < 2**53:
        value = float(text)
        if value.is_integer():
            return int(value)
    called = "idx" if name == "index" else name
    raise ValueError(f"{called} is {shown(text)}, expected a whole number")


def _truth(cell: dict[str, str], name: str) -> int | None:
    if name not in cell:
        return None
    known = _TRUTHS.get(cell[name].lower())
    return _integer(cell, name) if known is None else known


def _radius(text: str, prediction: int) -> float:
    nothing = _NONE.fullmatch(text) or (text[:1] == "-" and _NUMBER.fullmatch(text[1:]))
    if prediction == ABSTAIN and nothing:
        return 0.0
    return _number("radius", text)


def _sigma(text: str) -> float | None:
    return None if _NONE.fullmatch(text) else _number("sigma", text) or None


def _number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text) or not isfinite(float(text)):
        raise ValueError(f"{name} is {shown(text)}, expected a number of at least 0")
    return float(text)


def _seconds(text: str) -> float | None:
    if text.lower() == "nan":
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        return _number("time", text.removesuffix("s").rstrip())
    days, hours, minutes, seconds = match.groups(default="0")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
