"""Where evaluated inputs come from: the run directories of `ddrs certify`, and published logs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddrs.errors import DataError
from ddrs.files import read_parquet
from ddrs.runs import summary
from ddrs.runs.logs import read_log
from ddrs.runs.rows import CertifiedRow, LoggedRow, Row

__all__ = ["EvaluatedRun", "Run", "Summary", "read_rows", "read_run", "read_runs", "read_sigmas"]

Summary = dict[str, Any]
Run = tuple[str, Sequence[Row], Summary | None]
"""A name, the evaluated inputs, and the summary where there is one."""

CERTIFICATES = "certificates.parquet"
SUMMARY = "summary.json"


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
    summary: summary.Summary | None

    @property
    def sigmas(self) -> list[float] | None:
        """The sigma of each input; None where it is not recorded, as in a log."""
        certified = [row for row in self.rows if isinstance(row, CertifiedRow)]
        return [row.sigma for row in certified] if len(certified) == len(self.rows) else None


def read_rows(path: str | Path) -> Sequence[Row]:
    """The evaluated inputs of a run directory or of a log file (see `read_log`).

    Args:
        path: a run directory, for its `certificates.parquet`, or a log.

    Raises:
        DataError: it is neither, or is damaged.
    """
    if not Path(path).is_dir():
        return read_log(path)
    table = _read_table(Path(path), ["index", "label", "prediction", "radius", "correct"])
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


def read_sigmas(path: str | Path) -> list[float] | None:
    """The sigma of each input of a run directory; None for a log, which does not record it.

    Raises:
        DataError: the run directory has no readable `certificates.parquet`.
    """
    if not Path(path).is_dir():
        return None
    return [float(sigma) for sigma in _read_table(Path(path), ["sigma"])["sigma"].to_pylist()]


def read_run(path: str | Path) -> Run:
    """Name, rows and summary of a run directory or a log.

    Args:
        path: a run directory or a log; its last part gives the name.

    Returns:
        `(name, rows, summary)`; the summary is None for a log and where it is not written yet.

    Raises:
        DataError: unreadable rows or summary, or a summary that is of other rows.
    """
    rows = read_rows(path)
    return _name(Path(path), 1), rows, _read_summary(Path(path), len(rows))


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
    return [_evaluated(name, Path(path)) for name, path in zip(names, paths, strict=True)]


def _evaluated(name: str, path: Path) -> EvaluatedRun:
    _, rows, found = read_run(path)
    if path.is_dir():
        rows = [CertifiedRow.from_row(row) for row in _read_table(path, []).to_pylist()]
    return EvaluatedRun(name, rows, found and summary.Summary.from_json(found))


def _name(path: Path, depth: int) -> str:
    place = path.resolve()
    # Only the endings of logs: the 12 of `sigma_0.12` is no suffix, though pathlib takes it so.
    if place.suffix in (".tsv", ".txt", ".log"):
        place = place.with_suffix("")
    return "/".join(place.parts[-depth:])


def _read_table(run: Path, names: list[str]) -> Any:
    """The certificates of a run, as a pyarrow table in which the named columns are filled."""
    path = run / CERTIFICATES
    if not path.exists():
        raise DataError(
            f"{run} has no {CERTIFICATES}, so it is not a finished run of `ddrs certify`: "
            "run the same command again to finish it, or give another directory"
        )
    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged or not a parquet file: {error}") from error
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}")
    empty = [name for name in names if table[name].null_count]
    if empty:
        raise DataError(f"{path} has empty cells in column {', '.join(empty)}")
    return table


def _read_summary(run: Path, inputs: int) -> Summary | None:
    path = run / SUMMARY
    if not run.is_dir() or not path.exists():
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(summary, dict) or summary.get("inputs") != inputs:
        raise DataError(
            f"{path} is not the summary of the {inputs} inputs in {CERTIFICATES}: "
            "run the same `ddrs certify` again to renew it"
        )
    return summary
