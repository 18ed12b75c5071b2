"""Finished runs and published logs as one page: what they reached, how they were made."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ddrs.errors import ConfigurationError, RunError
from ddrs.evaluation.metrics import DEFAULT_RADII
from ddrs.files import write
from ddrs.finished.page import Reported, describe, report_page
from ddrs.finished.reading import read_run
from ddrs.jobs.certify import certify_command
from ddrs.runs.directory import CONFIG, SUMMARY, read_config
from ddrs.runs.table import Run, read_runs

__all__ = ["write_report"]

SUFFIXES = (".html", ".htm")


def write_report(paths: Sequence[Path], out: Path, radii: Iterable[float] = DEFAULT_RADII) -> None:
    """Write one self-contained HTML page about runs and logs.

    Args:
        paths: run directories of `ddrs certify`, and logs in the form of locuslab/smoothing.
        out: the page; one that is there is replaced once the new one is whole.
        radii: radii to give the certified accuracy at.

    Raises:
        ConfigurationError: `out` does not end in .html, or a radius is negative or not a number.
        DataError: rows that cannot be read.
        InputError: no runs, or a run without rows.
        RunError: a run that is not finished or is damaged, or the page cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"a report is a page of HTML, but {out} does not end in .html")
    if not out.parent.is_dir():
        raise RunError(f"there is no directory {out.parent} for the report: make it first")
    reported = [
        _described(Path(path), run) for path, run in zip(paths, read_runs(paths), strict=True)
    ]
    write(out, report_page(reported, radii), "report")


def _described(path: Path, run: Run) -> Reported:
    if not path.is_dir():
        return describe(run)
    if run[2] is None:
        raise RunError(f"{path} is not finished: run the same `ddrs certify` again, then report")
    _, rows = read_run(path)  # raises where configuration or rows are not those of a certification
    config = read_config(path)
    command = certify_command(config, f"runs/{path.resolve().name}-again")
    try:
        return describe(run, [row["sigma"] for row in rows], config, command)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"the {CONFIG} or the {SUMMARY} of {path} is not what `ddrs certify` wrote "
            f"({error!r}): restore it from a copy"
        ) from error
