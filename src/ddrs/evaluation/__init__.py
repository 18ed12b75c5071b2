"""From certificates to figures people compare: certified accuracy, ACR, tables and plots."""

from ddrs.evaluation.metrics import (
    accuracy_interval,
    average_certified_radius,
    certified_accuracy,
)
from ddrs.runs.logs import read_log, write_log

__all__ = [
    "accuracy_interval",
    "average_certified_radius",
    "certified_accuracy",
    "read_log",
    "write_log",
]
