"""The one reader of `certificates.parquet` and `summary.json`; a published log is read beside them.

pyarrow is imported where a table is read: it takes a good part of a second, which a command that
reads none should not wait for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from ddrs.errors import DataError, one_line
from ddrs.files import check_file, is_like_url
from ddrs.proof.certificate import Certificate
from ddrs.runs.checking import check_values, row_checks, shown
from ddrs.runs.decoding import read_json
from ddrs.runs.files import CERTIFICATES, SUMMARY
from ddrs.runs.logs import PublishedLog, read_log, read_published
from ddrs.runs.rows import CertifiedRow, LoggedRow, Row
from ddrs.runs.summary import Summary, TrainingSummary

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "EvaluatedRun",
    "read_certificates",
    "read_rows",
    "read_run",
    "read_runs",
    "read_summary",
    "read_training_summary",
    "readable_runs",
    "summary_json",
]

MOST_ROWS = 2**22  # three times ImageNet; a small file may claim any number, and fill all memory

_TYPES: dict[str, Any] = dict.fromkeys(("index", "label", "clean_prediction"), int) | {
    "correct": bool
}
_TYPES |= get_type_hints(Certificate)
_OPTIONAL = {field.name for field in fields(Certificate) if field.default is not MISSING}
_COLUMNS = tuple(name for name in _TYPES if name not in _OPTIONAL)

_TRUTH = ("label", "correct")  # empty in all rows where the inputs have no labels
EVALUATED = ("index", "label", "prediction", "radius", "correct")  # all that a comparison needs


@dataclass(frozen=True)
class EvaluatedRun:
    """What there is to compare of a run directory or of a log.

    Attributes:
        name: what tells it from the others.
        rows: the evaluated inputs; each a `CertifiedRow` where the run recorded certificates.
        summary: its figures; None for a log, and where they are not written yet.
        log: what the form of a log says; None for a run directory.
        path: where it was read from; None where it was not.
    """

    name: str
    rows: Sequence[Row]
    summary: Summary | None
    log: PublishedLog | None = field(default=None, compare=False, repr=False)
    path: Path | None = field(default=None, compare=False)

    @property
    def sigmas(self) -> list[float] | None:
        """The sigmas of the inputs that record one; None where none does, as in most logs."""
        recorded = [
            row.sigma
            for row in self.rows
            if isinstance(row, CertifiedRow | LoggedRow) and row.sigma is not None
        ]
        return recorded or None

    @property
    def norm(self) -> str | None:
        """The norm of the radii; None where it is not recorded, or differs."""
        if self.log is not None:
            return self.log.norm
        norms = {row.certificate.norm for row in self.rows if isinstance(row, CertifiedRow)}
        if self.summary is None:
            return norms.pop() if len(norms) == 1 else None
        return self.summary.norm


def read_rows(path: str | Path) -> Sequence[Row]:
    """The evaluated inputs of a run directory or of a log file (see `read_log`).

    Args:
        path: a run directory, for its `certificates.parquet`, or a log.

    Returns:
        Each a `CertifiedRow`, or a `LoggedRow` for a log and for a table that has no more columns.

    Raises:
        DataError: it is neither, or is damaged.
    """
    run = Path(path)
    _refuse_url(run)
    if not run.is_dir():
        return read_log(run)
    table = _read_table(run)
    if _absent(table, _COLUMNS) is None:
        return _certified(run, table)
    fault = _absent(table, EVALUATED) or _empty(table, EVALUATED)
    if fault is not None:
        raise DataError(f"{run / CERTIFICATES} has {fault}")
    return [
        LoggedRow(
            index=record["index"],
            label=record["label"],
            prediction=record["prediction"],
            radius=float(record["radius"]),
            correct=record["correct"],
            seconds=record.get("seconds"),
        )
        for record in _records(run, table, [*EVALUATED, "seconds"], _as_logged)
    ]


def read_certificates(run: Path) -> list[CertifiedRow]:
    """The rows of a run directory, with their certificates.

    Raises:
        DataError: there is no table, it is damaged, or it lacks a column.
    """
    table = _read_table(run)
    return _certified(run, table)


def read_run(path: str | Path) -> EvaluatedRun:
    """Name, rows and summary of a run directory or a log.

    Args:
        path: a run directory or a log; its last part gives the name.

    Raises:
        DataError: unreadable rows or summary, or a summary that is of other rows.
    """
    return _evaluated(Path(path), _name(Path(path), 1))


def read_runs(paths: Sequence[str | Path]) -> list[EvaluatedRun]:
    """`read_run` for several, with as many parts of each path in the names as tell them apart.

    The published logs of one noise level differ only in a folder's name, as run directories may.
    """
    return [_evaluated(Path(path), name) for name, path in zip(_names(paths), paths, strict=True)]


def readable_runs(
    paths: Sequence[str | Path],
) -> tuple[list[EvaluatedRun], dict[Path, str]]:
    """`read_runs`, passing over logs that cannot stand with the others.

    These are logs that cannot be read or hold no input, and whatever has its radii in another norm
    than most, or than the first where two norms are as frequent. A radius whose norm is not stated
    counts as one in l2, and may stand in a table in l1 too.

    Returns:
        What can be read; and of each path that was passed over one line that names it and says why.

    Raises:
        DataError: a run directory that cannot be read, a path where nothing is, or none is left.
    """
    runs: list[EvaluatedRun] = []
    passed_over: dict[Path, str] = {}
    for name, path in zip(_names(paths), map(Path, paths), strict=True):
        try:
            run = _evaluated(path, name)
            if not run.rows and not path.is_dir():
                raise DataError(
                    f"{path} has a header and no inputs: its run was cut off, or failed"
                )
        except DataError as error:
            if path.is_dir() or not path.exists() or len(paths) == 1:
                raise
            passed_over[path] = str(error)
        else:
            runs.append(run)
    if paths and not runs:
        more = f"; and {len(passed_over) - 1} more like it" * (len(passed_over) > 1)
        raise DataError(f"{next(iter(passed_over.values()))}{more}")
    if not runs:
        return [], {}
    norm = Counter(run.norm or "l2" for run in runs).most_common(1)[0][0]
    passed_over |= {
        run.path: f"{run.path} has its radii in {run.norm or 'no stated norm'}, not in {norm}: "
        "it needs a table of its own"
        for run in runs
        if run.path is not None and not _fits(run.norm, norm)
    }
    return [run for run in runs if _fits(run.norm, norm)], passed_over


def _fits(norm: str | None, table: str) -> bool:
    return norm == table or (norm is None and table in ("l1", "l2"))


def _names(paths: Sequence[str | Path]) -> list[str]:
    places = [Path(path).resolve() for path in paths]
    names: list[str] = []
    for depth in range(1, max((len(place.parts) for place in places), default=0) + 1):
        names = [_name(place, depth) for place in places]
        if len(set(names)) == len(names):
            break
    return names


def read_summary(run: Path) -> Summary | None:
    """The figures of a certification, or None while it is not finished.

    Raises:
        DataError: they cannot be read.
    """
    if not (run / SUMMARY).exists():
        return None
    try:
        return Summary.from_json(summary_json(run))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{run / SUMMARY} is not the summary of a certification ({error}): delete it, and run "
            "the same `ddrs certify` again to make it anew"
        ) from error


def read_training_summary(run: Path) -> TrainingSummary | None:
    """The figures of a training, or None while it is not finished.

    Raises:
        DataError: they cannot be read.
    """
    if not (run / SUMMARY).exists():
        return None
    try:
        return TrainingSummary.from_json(summary_json(run))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{run / SUMMARY} is not the summary of a training ({error}): restore it from a copy"
        ) from error


def summary_json(run: Path) -> object:
    """What stands in `summary.json`, unchecked: what an audit holds against the rows.

    Raises:
        DataError: it is missing or not JSON.
    """
    file = run / SUMMARY
    try:
        check_file(file)
        return read_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable JSON: {error}") from error


def _refuse_url(path: Path) -> None:
    if is_like_url(path):  # which may hold a password, so that no message repeats it
        raise DataError("a run directory or a log is wanted, and what was given looks like a URL")


def _evaluated(path: Path, name: str) -> EvaluatedRun:
    _refuse_url(path)
    if not path.is_dir():
        log = read_published(path)
        return EvaluatedRun(name, log.rows, None, log, path)
    rows = read_rows(path)
    summary = read_summary(path)
    if summary is not None and summary.inputs != len(rows):
        raise DataError(
            f"{path / SUMMARY} is not the summary of the {len(rows)} inputs in {CERTIFICATES}: "
            "delete it, and run the same `ddrs certify` again to make it anew"
        )
    return EvaluatedRun(name, rows, summary, path=path)


def _name(path: Path, depth: int) -> str:
    place = path.resolve()
    # Only the endings of logs: the 12 of `sigma_0.12` is no suffix, though pathlib takes it so.
    if place.suffix in (".tsv", ".csv", ".txt", ".log"):
        place = place.with_suffix("")
    return "/".join(place.parts[-depth:])


def _read_table(run: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ddrs.files import read_parquet

    path = run / CERTIFICATES
    if not path.exists():
        raise DataError(
            f"{run} has no {CERTIFICATES}, so it is not a finished run of `ddrs certify`: "
            "run the same command again to finish it, or give another directory"
        )
    try:
        check_file(path)
        schema = pq.read_schema(path)
        doubled = {name for name in schema.names if schema.names.count(name) > 1}
        if doubled:
            raise DataError(f"{path} has column {shown(min(doubled))} twice")
        rows = pq.read_metadata(path).num_rows
        if rows > MOST_ROWS:
            raise DataError(f"{path} has {rows} rows: no more than {MOST_ROWS} can be read")
        known = [name for name in schema.names if name in row_checks]
        return read_parquet(path, known)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or not a parquet file: {one_line(error)}") from error


def _certified(run: Path, table: "pa.Table") -> list[CertifiedRow]:
    fault = _absent(table, _COLUMNS) or _misfit(table, [*_COLUMNS, *_OPTIONAL])
    if fault is not None:
        raise DataError(f"{run / CERTIFICATES} has {fault}: restore it from a copy")
    try:
        records = _records(run, table, table.column_names)
        return [CertifiedRow.from_row(record) for record in records]
    except (TypeError, ValueError) as error:
        message = f"a row of {run / CERTIFICATES} is damaged: {one_line(error)}"
        raise DataError(message) from error


def _as_logged(record: dict[str, Any]) -> dict[str, Any]:
    """A row with whole numbers and a truth value where another program wrote 3.0 and 1."""
    plain = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in record.items()
        if name not in ("radius", "seconds")
    }
    if plain["correct"] in (0, 1):
        plain["correct"] = bool(plain["correct"])
    return record | plain


def _records(
    run: Path,
    table: "pa.Table",
    names: Sequence[str],
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda record: record,
) -> Iterator[dict[str, Any]]:
    """The rows of a table, each with values that these columns can have.

    Raises:
        DataError: one has others, or an input is there twice; with file, row and column.
    """
    checks = {name: row_checks[name] for name in names}
    seen: set[int] = set()
    for number, record in enumerate(map(change, table.to_pylist())):
        try:
            check_values(record, checks)
            if record["index"] in seen:
                raise ValueError(f"index: input {record['index']} is there twice")
        except ValueError as error:
            raise DataError(f"{run / CERTIFICATES}, row {number}, column {error}") from error
        seen.add(record["index"])
        yield record


def _absent(table: "pa.Table", names: Iterable[str]) -> str | None:
    """The first of these columns that a table does not have; None where it has all."""
    return next((f"no column {name}" for name in names if name not in table.column_names), None)


def _empty(table: "pa.Table", names: Iterable[str]) -> str | None:
    """The first of these columns that has empty cells; None where only what may be empty is."""
    unlabelled = all(table[name].null_count == table.num_rows for name in _TRUTH)
    return next(
        (
            f"empty cells in column {name}"
            for name in names
            if table[name].null_count and not (unlabelled and name in _TRUTH)
        ),
        None,
    )


def _misfit(table: "pa.Table", names: Iterable[str]) -> str | None:
    """What keeps the columns of a table from being those of a certification; None if nothing."""
    import pyarrow as pa

    fits: dict[object, Callable[[pa.DataType], bool]] = {
        int: pa.types.is_integer,
        float: pa.types.is_floating,
        bool: pa.types.is_boolean,
        tuple: pa.types.is_list,
    }
    present = [name for name in names if name in table.column_names]
    empty = _empty(table, present)
    if empty is not None:
        return empty
    for name in present:
        if name in _TRUTH and table[name].null_count:
            continue
        kind = _TYPES[name]
        fit = fits.get(get_origin(kind) or kind, pa.types.is_string)
        if not fit(table.schema.field(name).type):
            return f"values of another type in column {name}"
    return None
