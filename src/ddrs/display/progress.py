"""The progress bar of every long job: how far, how fast, how much time is left."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ddrs.display.foreign import visible

__all__ = ["ProgressBar", "duration"]


class ProgressBar:
    """One bar on standard error; a context manager.

    Args:
        title: what is being done.
        total: units of work to do.
        unit: what the units are called, e.g. `"votes"`.
        done: units that were done before.
        quiet: show nothing.
    """

    def __init__(
        self, title: str, total: int, unit: str, *, done: int = 0, quiet: bool = False
    ) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=10),
            TaskProgressColumn(),
            _Throughput(unit),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=Console(stderr=True),
            disable=quiet,
            speed_estimate_period=60.0,
        )
        self._task = self._progress.add_task(visible(title), total=total, completed=done, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, units: int) -> None:
        """Count units of work as done."""
        self._progress.advance(self._task, units)

    def reach(self, units: int) -> None:
        """Set how many units are done in all."""
        self._progress.update(self._task, completed=units)

    def restart(self, title: str, total: int) -> None:
        """Begin again, with other work."""
        self._progress.reset(self._task, description=visible(title), total=total)

    def note(self, text: str) -> None:
        """Show a short text behind the bar."""
        self._progress.update(self._task, note=visible(text))


def duration(seconds: float) -> str:
    """A time in words, e.g. `"48 s"`, `"12 min"`, `"3.5 h"`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Throughput(ProgressColumn):
    """Units per second, over the last minute while running and over all at the end."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        text = "" if speed is None else f"{speed:,.0f} {self._unit}/s"
        return Text(text, style="cyan", no_wrap=True)
