"""From certificates to figures people compare: certified accuracy, ACR, tables and plots."""

from ddrs.evaluation.epochs import EpochLog, read_epochs
from ddrs.evaluation.epochs_figure import draw_training
from ddrs.evaluation.figures import certified_accuracy_figure, draw_certified_accuracy
from ddrs.evaluation.logs import read_log, write_log
from ddrs.evaluation.metrics import (
    DEFAULT_RADII,
    accuracy_interval,
    average_certified_radius,
    certified_accuracy,
)
from ddrs.evaluation.rounding import radius_key, rounded_down
from ddrs.evaluation.rows import Row
from ddrs.evaluation.sources import read_rows, read_run, read_runs, read_sigmas
from ddrs.evaluation.summary import summarise
from ddrs.evaluation.table import compare, render

__all__ = [
    "DEFAULT_RADII",
    "EpochLog",
    "Row",
    "accuracy_interval",
    "average_certified_radius",
    "certified_accuracy",
    "certified_accuracy_figure",
    "compare",
    "draw_certified_accuracy",
    "draw_training",
    "radius_key",
    "read_epochs",
    "read_log",
    "read_rows",
    "read_run",
    "read_runs",
    "read_sigmas",
    "render",
    "rounded_down",
    "summarise",
    "write_log",
]
