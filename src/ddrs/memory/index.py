"""Which stored entries can matter to a candidate: a scan of their sketches in this process.

`near` may return too many entries, never too few. An entry (s_i, R_i) can be left out of what a
candidate (s, R) has to look at where |s - s_i| >= R + R_i, the sketches s being a lower bound of
the distance. Squared, this is an inner product, one number per entry:

    |s_i|^2 - R_i^2 - 2 s.s_i - 2 R R_i  >=  R^2 - |s|^2

so that a scan is one pass over `SKETCH_SIZE + 2` float32 numbers per entry. All rounding is taken
from the left side beforehand, half from the entry's own term and half from the candidate's.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ddrs.memory.geometry import Array
from ddrs.memory.sketch import SKETCH_ERROR, SKETCH_SIZE, Sketch

__all__ = ["Index"]

ENTRIES_PER_BLOCK = 1 << 15  # entries in one array of the index
PRODUCTS_PER_STEP = 1 << 19  # products that a scan holds at once

# A product of SKETCH_SIZE + 2 terms errs by less than (SKETCH_SIZE + 4) 2^-24 times the sum of
# their magnitudes, and that is at most 2 (|s|^2 + R^2 + |s_i|^2 + R_i^2). Underflow loses less than
# UNDERFLOW.
RELATIVE_ERROR = (SKETCH_SIZE + 8) * 2.0**-23
UNDERFLOW = 1e-36
LARGEST_SQUARE = 1e30  # squares beyond it could overflow: such an entry is always looked at


class Index:
    """Sketches and radii of the entries, in order of entry, in blocks: growing copies nothing."""

    def __init__(self) -> None:
        self._blocks: list[Sketch] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, sketches: Sketch, radii: Array) -> None:
        """Append entries.

        Args:
            sketches: `[m, SKETCH_SIZE]`.
            radii: `[m]`.
        """
        rows = np.zeros((len(radii), SKETCH_SIZE + 2), np.float32)
        rows[:, :SKETCH_SIZE] = sketches
        rows[:, SKETCH_SIZE], rows[:, SKETCH_SIZE + 1] = _terms(sketches, radii)
        rows[~np.isfinite(rows).all(axis=1)] = [*[0.0] * (SKETCH_SIZE + 1), -np.inf]
        while len(rows):
            if self._count == len(self._blocks) * ENTRIES_PER_BLOCK:
                self._blocks.append(np.empty((ENTRIES_PER_BLOCK, SKETCH_SIZE + 2), np.float32))
            start = self._count % ENTRIES_PER_BLOCK
            part = rows[: ENTRIES_PER_BLOCK - start]
            self._blocks[self._count // ENTRIES_PER_BLOCK][start : start + len(part)] = part
            self._count += len(part)
            rows = rows[len(part) :]

    def near(
        self, sketches: Sketch, radii: Array, start: int = 0, stop: int | None = None
    ) -> list[npt.NDArray[np.int64]]:
        """For each candidate the positions of all entries with d < R_i + R.

        Args:
            sketches: `[batch, SKETCH_SIZE]` of the candidates.
            radii: `[batch]` of the candidates.
            start: first position to look at.
            stop: position after the last one to look at.

        Returns:
            One array of ascending positions per candidate.
        """
        query = np.empty((SKETCH_SIZE + 2, len(radii)), np.float32)
        query[:SKETCH_SIZE] = -2 * sketches.T
        reach, own = _terms(sketches, radii)
        query[SKETCH_SIZE], query[SKETCH_SIZE + 1] = -2 * reach, 1.0
        least = np.where(np.isfinite(own), -own, np.nan)  # too large a candidate: look at all
        found: list[list[npt.NDArray[np.int64]]] = [[] for _ in radii]
        step = max(1, PRODUCTS_PER_STEP // max(len(radii), 1))
        for low, rows in self._slices(start, len(self) if stop is None else stop, step):
            with np.errstate(all="ignore"):
                close = ~(rows @ query >= least)  # what is not a number is looked at
            for candidate in np.flatnonzero(close.any(axis=0)):
                found[candidate].append(low + np.flatnonzero(close[:, candidate]))
        none = np.empty(0, np.int64)
        return [np.concatenate(parts) if parts else none for parts in found]

    def _slices(self, start: int, stop: int, step: int) -> Iterator[tuple[int, Sketch]]:
        low = start
        while low < stop:
            block = low - low % ENTRIES_PER_BLOCK
            high = min(low + step, block + ENTRIES_PER_BLOCK, stop)
            yield low, self._blocks[low // ENTRIES_PER_BLOCK][low - block : high - block]
            low = high


def _terms(sketches: Sketch, radii: Array) -> tuple[Sketch, Sketch]:
    """R and what the sketch may be off by, rounded up; |s|^2 - R^2 less all error, rounded down."""
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", sketches, sketches, dtype=np.float64)
        reach = ((radii + SKETCH_ERROR * np.sqrt(squares)) * (1 + 2.0**-20)).astype(np.float32)
        wide = reach.astype(np.float64) ** 2
        own = squares - wide - RELATIVE_ERROR * (squares + wide) - UNDERFLOW
        own = np.nextafter(own.astype(np.float32), np.float32(-np.inf))
        own[~(squares + wide < LARGEST_SQUARE)] = -np.inf
    return reach, own
