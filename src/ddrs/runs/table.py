"""The one reader of `certificates.parquet` and `summary.json`; a published log is read beside them.

pyarrow is imported where a table is read: it takes a good part of a second, which a command that
reads none should not wait for.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, get_origin, get_type_hints

from ddrs.errors import DataError
from ddrs.files import check_file
from ddrs.proof.certificate import Certificate
from ddrs.runs.files import CERTIFICATES, SUMMARY
from ddrs.runs.logs import read_log
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
    "summary_json",
]

EVALUATED = ("index", "label", "prediction", "radius", "correct")  # all that a comparison needs


@dataclass(frozen=True)
class EvaluatedRun:
    """What there is to compare of a run directory or of a log.

    Attributes:
        name: what tells it from the others.
        rows: the evaluated inputs; each a `CertifiedRow` where the run recorded certificates.
        summary: its figures; None for a log, and where they are not written yet.
    """

    name: str
    rows: Sequence[Row]
    summary: Summary | None

    @property
    def sigmas(self) -> list[float] | None:
        """The sigma of each input; None where it is not recorded, as in a log."""
        certified = [row for row in self.rows if isinstance(row, CertifiedRow)]
        return [row.sigma for row in certified] if len(certified) == len(self.rows) else None


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
    if not run.is_dir():
        return read_log(run)
    table = _read_table(run)
    if _fault(table) is None:
        return _certified(table)
    for fault in (f"no column {name}" for name in EVALUATED if name not in table.column_names):
        raise DataError(f"{run / CERTIFICATES} has {fault}")
    for fault in (f"empty cells in column {n}" for n in EVALUATED if table[n].null_count):
        raise DataError(f"{run / CERTIFICATES} has {fault}")
    return [
        LoggedRow(
            index=int(record["index"]),
            label=int(record["label"]),
            prediction=int(record["prediction"]),
            radius=float(record["radius"]),
            correct=bool(record["correct"]),
            seconds=record.get("seconds"),
        )
        for record in table.to_pylist()
    ]


def read_certificates(run: Path) -> list[CertifiedRow]:
    """The rows of a run directory, with their certificates.

    Raises:
        DataError: there is no table, it is damaged, or it lacks a column.
    """
    table = _read_table(run)
    fault = _fault(table)
    if fault is not None:
        raise DataError(f"{run / CERTIFICATES} has {fault}: restore it from a copy")
    return _certified(table)


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
    places = [Path(path).resolve() for path in paths]
    names: list[str] = []
    for depth in range(1, max((len(place.parts) for place in places), default=0) + 1):
        names = [_name(place, depth) for place in places]
        if len(set(names)) == len(names):
            break
    return [_evaluated(Path(path), name) for name, path in zip(names, paths, strict=True)]


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
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable JSON: {error}") from error


def _evaluated(path: Path, name: str) -> EvaluatedRun:
    rows = read_rows(path)
    summary = read_summary(path) if path.is_dir() else None
    if summary is not None and summary.inputs != len(rows):
        raise DataError(
            f"{path / SUMMARY} is not the summary of the {len(rows)} inputs in {CERTIFICATES}: "
            "delete it, and run the same `ddrs certify` again to make it anew"
        )
    return EvaluatedRun(name, rows, summary)


def _name(path: Path, depth: int) -> str:
    place = path.resolve()
    # Only the endings of logs: the 12 of `sigma_0.12` is no suffix, though pathlib takes it so.
    if place.suffix in (".tsv", ".txt", ".log"):
        place = place.with_suffix("")
    return "/".join(place.parts[-depth:])


def _read_table(run: Path) -> "pa.Table":
    import pyarrow as pa

    from ddrs.files import read_parquet

    path = run / CERTIFICATES
    if not path.exists():
        raise DataError(
            f"{run} has no {CERTIFICATES}, so it is not a finished run of `ddrs certify`: "
            "run the same command again to finish it, or give another directory"
        )
    try:
        return read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or not a parquet file: {error}") from error


def _certified(table: "pa.Table") -> list[CertifiedRow]:
    try:
        return [CertifiedRow.from_row(row) for row in table.to_pylist()]
    except (TypeError, ValueError) as error:
        raise DataError(f"a row of a {CERTIFICATES} is damaged: {error}") from error


def _fault(table: "pa.Table") -> str | None:
    """What keeps a table from holding rows of a certification; None where it does."""
    import pyarrow as pa

    fits: dict[object, Callable[[pa.DataType], bool]] = {
        int: pa.types.is_integer,
        float: pa.types.is_floating,
        bool: pa.types.is_boolean,
        tuple: pa.types.is_list,
    }
    row = dict.fromkeys(("index", "label", "clean_prediction"), int) | {"correct": bool}
    optional = {field.name for field in fields(Certificate) if field.default is not MISSING}
    for name, kind in {**row, **get_type_hints(Certificate)}.items():
        if name not in table.column_names:
            if name not in optional:
                return f"no column {name}"
            continue
        if table[name].null_count:
            return f"empty cells in column {name}"
        fit = fits.get(get_origin(kind) or kind, pa.types.is_string)
        if not fit(table.schema.field(name).type):
            return f"values of another type in column {name}"
    return None
