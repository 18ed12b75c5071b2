"""What people see of a training, while it runs and after it, kept up epoch by epoch.

epochs.csv      a row per epoch
tensorboard/    the same for TensorBoard
training.png    the same as a picture, redrawn now and then
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ddrs.display.plots import write_figure
from ddrs.errors import RunError, one_line
from ddrs.files import check_file, write
from ddrs.training.epochs.events import EpochEvents
from ddrs.training.epochs.figure import draw_training
from ddrs.training.metrics import EpochMetrics

__all__ = ["EpochLog", "read_epochs"]

EPOCHS_FILE, FIGURE_FILE, EVENTS_FOLDER = "epochs.csv", "training.png", "tensorboard"
REDRAW_SECONDS = 60.0
COLUMNS = [field.name for field in fields(EpochMetrics)]


class EpochLog:
    """The epochs of a training, in a directory that shows them; a context manager.

    It resumes from what is in the directory, and an epoch that is added replaces the one of its
    number and all that follow: a training that went back to a checkpoint does them again.

    Args:
        directory: of the run; it must be there.
        sigma_bounds: the least and the largest sigma that an example may have; None where all have
            the same.

    Attributes:
        history: the epochs, in order.

    Raises:
        RunError: the epochs in the directory cannot be read.
    """

    def __init__(self, directory: Path, *, sigma_bounds: tuple[float, float] | None) -> None:
        self.directory = directory
        self.sigma_bounds = sigma_bounds
        table = directory / EPOCHS_FILE
        self.history = read_epochs(table) if table.exists() else []
        self._events = EpochEvents(directory / EVENTS_FOLDER, sigma_bounds)
        self._drawn: list[EpochMetrics] | None = None
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._events.close()
            if self._drawn is not None and self._drawn is not self.history:
                self._draw()
        except RunError:
            if error is None:  # else what ended the training is the thing to report
                raise

    def add(self, metrics: EpochMetrics) -> None:
        """Note an epoch that is over; it is on disk when this returns.

        Raises:
            RunError: it cannot be written; every file is whole, with this epoch or without it.
        """
        before = [epoch for epoch in self.history if epoch.epoch < metrics.epoch]
        history = [*before, metrics]
        write(self.directory / EPOCHS_FILE, _as_csv(history), "epochs")
        if len(before) < len(self.history):
            self._events.close()  # only a new file takes back what is in one
        self.history = history
        self._events.add(metrics)
        if self._drawn is None or time.monotonic() - self._drawn_at > REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        write_figure(draw_training(self.history, self.sigma_bounds), self.directory / FIGURE_FILE)
        self._drawn, self._drawn_at = self.history, time.monotonic()


def read_epochs(path: str | Path) -> list[EpochMetrics]:
    """The epochs of a training, from its `epochs.csv`.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        check_file(path)
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        if not text.endswith("\n"):
            raise ValueError("its last line is cut short")
        header, *rows = csv.reader(io.StringIO(text))
        if header != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        history = [_from_row(row) for row in rows]
        epochs = [metrics.epoch for metrics in history]
        if epochs != sorted(set(epochs)):
            raise ValueError("its epochs are not in order")
        if len({len(metrics.sigma_counts) for metrics in history}) > 1:
            raise ValueError("its histograms are not of one kind")
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"cannot read the epochs in {path}: {one_line(error)}; the training does not need "
            "them, so move the file away to go on"
        ) from error
    return history


def _as_csv(history: Sequence[EpochMetrics]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metrics in history:
        counts = " ".join(map(str, metrics.sigma_counts))
        writer.writerow({**asdict(metrics), "sigma_counts": counts})
    return text.getvalue()


def _from_row(row: Sequence[str]) -> EpochMetrics:
    if len(row) != len(COLUMNS):
        raise ValueError(f"a row has {len(row)} cells, not {len(COLUMNS)}")
    cells: dict[str, Any] = {
        name: _PARSERS.get(name, float)(cell) for name, cell in zip(COLUMNS, row, strict=True)
    }
    return EpochMetrics(**cells)


_PARSERS: dict[str, Callable[[str], object]] = {
    "epoch": int,
    "validation_accuracy": lambda cell: float(cell) if cell else None,
    "sigma_counts": lambda cell: [int(count) for count in cell.split()],
}
