"""A finished run read back: its configuration, its rows, and the inputs again."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.errors import DataError, DDRSError, RunError
from ddrs.jobs.checks import check_same_inputs
from ddrs.jobs.config import CertifyConfig
from ddrs.runs.directory import read_config
from ddrs.runs.files import CERTIFICATES, CONFIG
from ddrs.runs.rows import CertifiedRow
from ddrs.runs.summary import Summary
from ddrs.runs.table import read_certificates, read_summary

if TYPE_CHECKING:  # it loads torch
    from ddrs.data.dataset import Dataset

__all__ = ["FinishedRun", "read_finished"]


@dataclass(frozen=True)
class FinishedRun:
    """A run directory of `ddrs certify` that has all its rows.

    Attributes:
        path: the directory.
        config: what it was made for.
        rows: the certified inputs.
    """

    path: Path
    config: CertifyConfig
    rows: list[CertifiedRow]

    def renumbered(self, dataset: "Dataset") -> "Dataset":
        """A dataset with its labels as the run took them, among the classes of the model."""
        if self.config.classes is None:
            return dataset
        return dataset.renumbered(self.config.classes, self.config.num_classes)

    @property
    def summary(self) -> Summary:
        """Its figures, as they are written; an audit does not trust them.

        Raises:
            DataError: they are damaged.
            RunError: there are none yet.
        """
        summary = read_summary(self.path)
        if summary is None:
            raise RunError(f"{self.path} is not finished: run the same `ddrs certify` again")
        return summary

    def load_data(self, rows: Iterable[CertifiedRow] | None = None) -> "Dataset":
        """The dataset that was certified, held against all rows or those given.

        Raises:
            RunError: it is not there any more, or another one is.
        """
        from ddrs import data

        spec = self.config.data
        try:
            dataset = self.renumbered(data.load(spec, self.config.split, self.config.preparation))
            check_same_inputs(self.rows if rows is None else rows, dataset)
        except IndexError as error:
            raise RunError(f"{spec} has fewer inputs than were certified") from error
        except RunError:
            raise
        except DDRSError as error:
            raise RunError(
                f"the inputs that were certified are needed again and cannot be read: {error}"
            ) from error
        return dataset


def read_finished(path: Path) -> FinishedRun:
    """A finished run, checked for being there and readable.

    Raises:
        RunError: it is not.
    """
    stored = read_config(path)
    if stored.get("kind") != "certify":
        raise RunError(f"{path} is not a run of `ddrs certify`")
    try:
        config = CertifyConfig.from_json(stored)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{path / CONFIG} is not what `ddrs certify` wrote ({error}): restore it from a copy"
        ) from error
    if not (path / CERTIFICATES).exists():
        raise RunError(f"{path} is not finished: run the same `ddrs certify` again, then audit")
    try:
        return FinishedRun(path, config, read_certificates(path))
    except DataError as error:
        raise RunError(str(error)) from error
