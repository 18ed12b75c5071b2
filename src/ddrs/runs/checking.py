"""What the values of a run can be: whatever a stranger's file holds, no other enters a figure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from reprlib import Repr
from typing import Any, get_args

from ddrs.noise.distributions import NOISES
from ddrs.proof.bounds import Bound
from ddrs.proof.certificate import Outcome, Role

__all__ = ["Check", "check_values", "row_checks", "shown", "summary_checks"]

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 40


@dataclass(frozen=True)
class Check:
    """What a value must be: a test, and what to say of a value that fails it."""

    fits: Callable[[Any], bool]
    what: str


def check_values(values: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Refuse a value that is not what its name asks for; one that is not there is not checked.

    Raises:
        ValueError: there is one; the message names it.
    """
    for name, check in checks.items():
        if name in values and not check.fits(values[name]):
            raise ValueError(f"{name}: {shown(values[name])} is not {check.what}")


def shown(value: object) -> str:
    """A foreign value for a message: short, on one line, and without control characters."""
    return _SHORT.repr(value)


def _whole(least: int) -> Check:
    return Check(
        lambda value: type(value) is int and least <= value < 2**63,
        f"a whole number of at least {least}",
    )


def _real(fits: Callable[[float], bool], what: str) -> Check:
    return Check(
        lambda value: type(value) in (int, float) and isfinite(value) and fits(value), what
    )


def _one_of(names: Iterable[str]) -> Check:
    known = tuple(names)
    return Check(lambda value: type(value) is str and value in known, f"one of {', '.join(known)}")


def _or_none(check: Check) -> Check:
    return Check(lambda value: value is None or check.fits(value), f"{check.what}, or nothing")


_TEXT = Check(lambda value: type(value) is str, "a text")
_TRUTH = Check(lambda value: type(value) is bool, "true or false")
_SCALE = _real(lambda value: 1e-100 <= value <= 1e100, "a noise scale from 1e-100 to 1e100")
_AT_LEAST_0 = _real(lambda value: value >= 0, "a finite number of at least 0")
_SHARE = _real(lambda value: 0 <= value <= 1, "a number from 0 to 1")
_LEVEL = _real(lambda value: 0 < value < 1, "a number between 0 and 1")
_CLASS = _whole(-1)  # or an abstention
_NORM = _one_of(noise.norm for noise in NOISES.values())

_EVIDENCE = {
    "sigma": _SCALE,
    "norm": _NORM,
    "bound": _one_of(get_args(Bound)),
    "p_lower": _SHARE,
    "p_upper": _SHARE,
    "count": _whole(0),
    "runner_up": _whole(0),
    "n": _whole(1),
    "looks": _whole(1),
    "alpha": _LEVEL,
    "model_digest": _TEXT,
    "p0": _real(lambda value: value == 0 or 0.5 <= value < 1, "0, or a number from 0.5 to below 1"),
}


_PIECE = {"role": _one_of(get_args(Role)), **_EVIDENCE}


def _are_evidence(pieces: object) -> bool:
    return isinstance(pieces, list | tuple) and all(
        isinstance(piece, Mapping)
        and set(piece) == set(_PIECE)
        and all(check.fits(piece[name]) for name, check in _PIECE.items())
        for piece in pieces
    )


row_checks = {
    "index": _whole(0),
    "label": _or_none(_whole(0)),
    "correct": _or_none(_TRUTH),
    "clean_prediction": _CLASS,
    "prediction": _CLASS,
    "radius": _AT_LEAST_0,
    "outcome": _one_of(get_args(Outcome)),
    "own_prediction": _CLASS,
    "own_radius": _AT_LEAST_0,
    **_EVIDENCE,
    "n0": _whole(0),
    "votes": _whole(0),
    "input_digest": _TEXT,
    "seed": _whole(0),
    "version": _TEXT,
    "seconds": _or_none(_AT_LEAST_0),
    "further": Check(_are_evidence, "a list of evidence"),
}
"""What the columns of a row must hold."""

_SHARES = Check(
    lambda values: all(_SHARE.fits(value) for value in values.values()), "numbers from 0 to 1"
)
_INTERVALS = Check(
    lambda ends: all(len(pair) == 2 and all(map(_SHARE.fits, pair)) for pair in ends.values()),
    "pairs of numbers from 0 to 1",
)

summary_checks = {
    "inputs": _whole(1),
    "acr": _or_none(_AT_LEAST_0),
    "answered": _SHARES,
    "mean_radius": _or_none(_AT_LEAST_0),
    "certified_accuracy": _SHARES,
    "certified_accuracy_interval": _INTERVALS,
    "interval_level": _LEVEL,
    "clean_accuracy": _or_none(_SHARE),
    "abstained": _whole(0),
    "votes": _whole(0),
    "seconds": _AT_LEAST_0,
    "n": _or_none(_whole(1)),
    "n0": _or_none(_whole(0)),
    "alpha": _or_none(_LEVEL),
    "norm": _or_none(_NORM),
    "n_at_most": _or_none(_whole(1)),
    "wrong": _or_none(_SHARES),
    "discounted": _or_none(_SHARES),
    "discounted_acr": _or_none(_AT_LEAST_0),
    "null": _or_none(_SHARES),
    "start": _or_none(_SCALE),
    "calibration": _or_none(_SCALE),
    "other_settings": Check(
        lambda rows: all(key.isidentifier() and _whole(1).fits(rows[key]) for key in rows),
        "names of settings, with whole numbers above 0",
    ),
}
"""What the figures of a certification must be."""
