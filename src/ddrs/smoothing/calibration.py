"""A calibration: up to which sigma the answers of a classifier still tell its inputs apart.

At each sigma of a grid q(c) is the mean share of votes for class c over unlabelled inputs. With
q0(c) the share at the training noise, the excess of a sigma is the largest over c of

    (q(c) - q0(c)) / (1 - q0(c)),

0 at the training noise and 1 where every vote is for one class, whatever the number of classes and
however unequal they are. The grid is scanned upward from the training noise as long as the excess
is at most `MOST_EXCESS`; the last sigma before it is larger is the limit. So what is allowed is an
interval, and the training noise always is.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isclose
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ddrs.errors import DataError, one_line
from ddrs.files import check_file, write
from ddrs.runs.decoding import decode, read_json
from ddrs.sigma.guard import Guard

__all__ = ["MOST_EXCESS", "CalibratedModel", "Calibration", "excess", "last_allowed"]

MOST_EXCESS = 0.5

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibratedModel:
    """What was seen of one classifier.

    Attributes:
        model_digest: SHA-256 of the classifier.
        sigma: the noise that it was trained with.
        grid: the sigmas that were looked at, rising.
        shares: for each of them the mean share of votes of every class.
        high: the largest sigma allowed.
        interval: 95 % interval of `high`, by a bootstrap over the inputs.
    """

    model_digest: str
    sigma: float
    grid: tuple[float, ...]
    shares: tuple[tuple[float, ...], ...]
    high: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Calibration(Guard):
    """The limits, and what they were found from: a `Guard` that can be saved.

    Attributes:
        data: where the inputs come from, in words or as a spec.
        inputs: how many there were.
        inputs_digest: SHA-256 of the digests of the inputs.
        models: what was seen of each classifier.
        votes: votes at each input and sigma.
        seed: key of the noise and of the bootstrap.
        cost: all votes together.
        seconds: time that they took; no part of the digest.
    """

    data: str
    inputs: int
    inputs_digest: str
    models: tuple[CalibratedModel, ...]
    votes: int
    seed: int
    cost: int
    seconds: float

    @property
    def guard(self) -> Guard:
        """The limits alone, as configurations record them."""
        return Guard(self.digest, self.noise, self.limits)

    def save(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is replaced once the new one is whole.

        Raises:
            RunError: it cannot be written.
        """
        write(path, json.dumps(asdict(self), indent=1) + "\n", "calibration")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The calibration that `save` wrote.

        Raises:
            DataError: it cannot be read, or its limits do not follow from what it says was seen.
        """
        try:
            check_file(path)
            data = read_json(Path(path).read_text(encoding="utf-8"))
            found = decode(cls, data)
            found.check_whole()
        except (OSError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is not a calibration ({one_line(error)}): make it with `ddrs calibrate`"
            ) from error
        return found

    def check_whole(self) -> None:
        """Raise ValueError unless digest and limits are those of what was seen."""
        if not self.models:
            raise ValueError("it is of no model")
        if [(one.model_digest, one.high) for one in self.models] != [
            (limit.model_digest, limit.high) for limit in self.limits
        ]:
            raise ValueError("its limits are not those of its models")
        for one in self.models:
            shares = np.array(one.shares, dtype=np.float64)
            grid = np.array(one.grid)
            if shares.ndim != 2 or len(shares) != len(grid) or one.sigma not in one.grid:
                raise ValueError("its shares do not fit its grid")
            if not (grid[0] > 0 and (np.diff(grid) > 0).all()):
                raise ValueError("its grid does not rise")
            if not ((shares >= 0) & (shares <= 1)).all() or not all(
                isclose(row.sum(), 1, rel_tol=1e-9) for row in shares
            ):
                raise ValueError("its shares do not add up to 1")
            if one.high != one.grid[last_allowed(shares, one.grid.index(one.sigma))]:
                raise ValueError("a limit does not follow from its shares")
        if content_digest(asdict(self)) != self.digest:
            raise ValueError("its digest is not that of its content")


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a calibration says, without its digest and its time."""
    kept = {key: value for key, value in content.items() if key not in ("digest", "seconds")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def excess(shares: Float64s, start: int) -> Float64s:
    """`[..., sigmas]` how far the commonest class went from its share at the training noise.

    Args:
        shares: `[..., sigmas, classes]` mean shares of votes.
        start: position of the training noise among the sigmas.

    Returns:
        At most 1. Where one class had all votes at the training noise already, 1: nothing tells
        such a classifier from a constant.
    """
    before = shares[..., start : start + 1, :]
    all_before = before >= 1
    risen = (shares - before) / np.where(all_before, 1.0, 1 - before)
    found: Float64s = np.where(all_before, 1.0, risen).max(axis=-1)
    return found


def last_allowed(shares: Float64s, start: int) -> npt.NDArray[np.int64]:
    """`[...]` position of the largest sigma allowed; arguments as in `excess`."""
    above = excess(shares, start)[..., start + 1 :] <= MOST_EXCESS
    kept: npt.NDArray[np.int64] = start + np.cumprod(above, axis=-1, dtype=np.int64).sum(axis=-1)
    return kept
