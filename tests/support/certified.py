"""Rows of a certification, made up."""

from typing import Any

from ddrs.runs.rows import CertifiedRow

COLUMNS: dict[str, Any] = {
    "index": 0,
    "label": 1,
    "correct": True,
    "clean_prediction": 1,
    "prediction": 1,
    "radius": 0.5,
    "outcome": "own",
    "own_prediction": 1,
    "own_radius": 0.5,
    "sigma": 0.25,
    "norm": "l2",
    "bound": "one-sided",
    "p_lower": 0.9772,
    "p_upper": 0.0228,
    "count": 990,
    "runner_up": 10,
    "n": 1000,
    "looks": 1,
    "n0": 100,
    "alpha": 0.001,
    "votes": 1100,
    "input_digest": "0" * 64,
    "model_digest": "a",
    "seed": 7,
    "version": "0.1.0",
    "p0": 0.0,
    "further": [],
    "seconds": 1.5,
}


def certified(**changes: Any) -> CertifiedRow:
    """A row with these columns changed."""
    return CertifiedRow.from_row(COLUMNS | changes)
