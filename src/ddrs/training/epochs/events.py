"""The epochs of a training as TensorBoard reads them."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddrs.errors import RunError
from ddrs.files import cannot_write
from ddrs.training.metrics import EpochMetrics

__all__ = ["EpochEvents"]


class EpochEvents:
    """A folder of event files, one for each time that a training was started or resumed.

    A file begins with the mark of a restart, at which TensorBoard forgets what the files before it
    have of its first epoch and of later ones. What is added is on disk at once: tensorboardX's own
    `SummaryWriter` leaves that to a thread, which ends unseen when the disk is full.

    Args:
        folder: it is made if it is not there.
        sigma_bounds: the least and the largest sigma that an example may have; None where all have
            the same.
    """

    def __init__(self, folder: Path, sigma_bounds: tuple[float, float] | None) -> None:
        self.folder = folder
        self.sigma_bounds = sigma_bounds
        self._file: Any = None  # a RecordWriter, from the first epoch on
        self._whole = 0  # bytes of it that are complete epochs

    def add(self, metrics: EpochMetrics) -> None:
        """Write an epoch, as the step of its number; in one file they only go up.

        Raises:
            RunError: it cannot be written; the files are as they were.
        """
        # Imported here: nothing but a training needs it.
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        events = [Event(step=metrics.epoch, summary=_summary(metrics, self.sigma_bounds))]
        try:
            if self._file is None:
                self.folder.mkdir(exist_ok=True)
                name = f"events.out.tfevents.{time.time_ns()}"  # files are read by order of name
                self._file = RecordWriter(str(self.folder / name))
                start = SessionLog(status=SessionLog.START)
                events.insert(0, Event(step=metrics.epoch, session_log=start))
                events.insert(0, Event(file_version="brain.Event:2"))
            for event in events:
                event.wall_time = time.time()
                self._file.write(event.SerializeToString())
            self._file.flush()
            self._whole = os.path.getsize(self._file.path)
        except OSError as error:
            self._undo()
            raise RunError(cannot_write("TensorBoard log", self.folder, error)) from error

    def close(self) -> None:
        """Let go of the file; an epoch that is added later starts another."""
        if self._file is not None:
            with suppress(OSError):  # all epochs are on disk; what a full disk refused stays out
                self._file.close()
        self._file, self._whole = None, 0

    def _undo(self) -> None:
        """Leave only complete epochs in the file, and let go of it."""
        if self._file is None:
            return
        path, whole = self._file.path, self._whole
        self.close()
        with suppress(OSError):
            if whole:
                os.truncate(path, whole)
            else:
                os.unlink(path)


def _summary(metrics: EpochMetrics, sigma_bounds: tuple[float, float] | None) -> Any:
    """TensorBoard's record of an epoch."""
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import histogram_raw, scalar

    values = {
        "loss": metrics.loss,
        "noisy_accuracy": metrics.noisy_accuracy,
        "validation_accuracy": metrics.validation_accuracy,
        "sigma/min": metrics.sigma_min,
        "sigma/median": metrics.sigma_median,
        "sigma/max": metrics.sigma_max,
    }
    parts = [scalar(tag, value) for tag, value in values.items() if value is not None]
    if sigma_bounds is not None:
        counts = np.asarray(metrics.sigma_counts)
        edges = np.linspace(*sigma_bounds, len(counts) + 1)
        middles = (edges[:-1] + edges[1:]) / 2  # all that is known for the sums
        parts.append(
            histogram_raw(
                "sigma/distribution",
                min=sigma_bounds[0],  # read as the outer edges of the first and the last part
                max=sigma_bounds[1],
                num=counts.sum(),
                sum=counts @ middles,
                sum_squares=counts @ middles**2,
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
            )
        )
    return Summary(value=[value for part in parts for value in part.value])
