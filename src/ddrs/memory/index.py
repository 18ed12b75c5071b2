"""Which stored entries can matter to a candidate: a blockwise scan of the centres in this process.

`near` may return too many entries, never too few: it leaves one out only where a proved lower
bound of the distance reaches the sum of the radii. The scan is one matrix product per block, so
its temporary memory is bounded. A sketch of the centres can replace it behind the same method.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ddrs.memory.geometry import Array, Distance, Norm, distance_bounds
from ddrs.memory.regions import Neighbour

__all__ = ["Index"]

BLOCK = 1 << 21  # numbers held at once by the scan
CHUNK = 64  # candidates that share a scan
EPSILON, TINY = 2.0**-52, 2.0**-1022
EPSILON32, TINY32 = 2.0**-23, 2.0**-126
FLOAT32_DIMENSIONS = 1 << 20  # above it the error bound of a float32 product is useless


class Index:
    """Centres, classes and radii of the entries, in order of entry, in arrays that grow.

    Centres are kept as float32 while that is exact for all of them (images mostly are).

    Args:
        dimension: numbers per centre.
        norm: the norm of the distances.
    """

    def __init__(self, dimension: int, norm: Norm) -> None:
        self._norm: Norm = norm
        self._count = 0
        self._centres: npt.NDArray[np.float32] | Array = np.zeros((16, dimension), np.float32)
        self._squares = np.empty(16)  # of the centres' l2 lengths
        self._predictions = np.empty(16, np.int64)
        self._radii = np.empty(16)

    def __len__(self) -> int:
        return self._count

    def add(self, x: Array, prediction: int, radius: float) -> None:
        """Append an entry; `x` is `[d]` float64."""
        if self._centres.dtype == np.float32 and not _is_float32(x):
            self._centres = self._centres.astype(np.float64)
        if self._count == len(self._radii):
            self._grow()
        with np.errstate(over="ignore", under="ignore"):
            self._squares[self._count] = x @ x
        self._centres[self._count] = x
        self._predictions[self._count] = prediction
        self._radii[self._count] = radius
        self._count += 1

    def truncate(self, count: int) -> None:
        """Forget all but the first `count` entries."""
        self._count = min(self._count, count)

    def near(self, xs: Array, radii: Array, start: int = 0) -> list[list[Neighbour]]:
        """For each candidate ball all entries with d < R_i + R, from position `start` on.

        Args:
            xs: `[batch, d]` candidate centres.
            radii: `[batch]` candidate radii.
            start: first position to look at.

        Returns:
            One list per candidate, in order of entry; each entry with its distance.
        """
        rows = max(1, BLOCK // max(xs.shape))
        found: list[list[npt.NDArray[np.int64]]] = [[] for _ in xs]
        for low in range(start, self._count, rows):
            close = ~self._far(slice(low, min(low + rows, self._count)), xs, radii)
            for candidate in np.nonzero(close.any(axis=0))[0]:
                found[candidate].append(low + np.nonzero(close[:, candidate])[0])
        return [
            [n for positions in blocks for n in self._neighbours(positions, x, radius)]
            for blocks, x, radius in zip(found, xs, radii.tolist(), strict=True)
        ]

    def along(self, xs: Sequence[Array], radii: Sequence[float]) -> Iterator[list[Neighbour]]:
        """As `near`, one candidate after another; entries may be added between the steps.

        Args:
            xs: candidate centres, `[d]` each.
            radii: as many candidate radii.
        """
        for low in range(0, len(xs), CHUNK):
            before = len(self)
            centres = np.stack(xs[low : low + CHUNK])
            reach = np.array(radii[low : low + CHUNK])
            for i, stored in enumerate(self.near(centres, reach)):
                yield stored + self.near(centres[i : i + 1], reach[i : i + 1], start=before)[0]

    def _far(self, block: slice, xs: Array, radii: Array) -> npt.NDArray[np.bool_]:
        """`[rows, batch]`: where |c|^2 - 2 c.x + |x|^2 less its error reaches (R_i + R)^2.

        The l1 distance is never below the l2 distance, so this holds for both norms. The product
        errs by less than d u (|c|^2 + |x|^2) in any order of summation, the squares by as much in
        float64, underflow by less than the smallest normal number a term. Overflow makes NaN or
        infinity, and then nothing is called far.
        """
        d = xs.shape[1]
        centres = self._centres[block]
        with np.errstate(all="ignore"):
            if centres.dtype == np.float32 and d <= FLOAT32_DIMENSIONS and _is_float32(xs):
                product = (centres @ xs.astype(np.float32).T).astype(np.float64)
                epsilon, tiny = EPSILON32, TINY32
            else:
                product = centres.astype(np.float64, copy=False) @ xs.T
                epsilon, tiny = EPSILON, TINY
            squares = self._squares[block][:, None] + np.einsum("ij,ij->i", xs, xs)
            slack = (d + 8) * (epsilon * squares + 4 * tiny)
            reach = self._radii[block][:, None] + radii
            far = squares - 2 * product - slack >= reach * reach * (1 + 4 * EPSILON)
        clear: npt.NDArray[np.bool_] = far & np.isfinite(product)
        return clear

    def _neighbours(
        self, positions: npt.NDArray[np.int64], x: Array, radius: float
    ) -> list[Neighbour]:
        """Those of `positions`, at most a block, that may satisfy d < R_i + R."""
        lower, upper = distance_bounds(self._centres[positions], x, self._norm)
        with np.errstate(over="ignore"):
            reach = np.nextafter(self._radii[positions] + radius, np.inf)
        keep = lower < reach
        return [
            Neighbour(p, c, r, Distance(self._centres[p], x, self._norm, low, high))
            for p, c, r, low, high in zip(
                positions[keep].tolist(),
                self._predictions[positions[keep]].tolist(),
                self._radii[positions[keep]].tolist(),
                lower[keep].tolist(),
                upper[keep].tolist(),
                strict=True,
            )
        ]

    def _grow(self) -> None:
        extra = len(self._radii)
        self._centres = np.concatenate([self._centres, np.zeros_like(self._centres)])
        self._squares = np.concatenate([self._squares, np.empty(extra)])
        self._predictions = np.concatenate([self._predictions, np.empty(extra, np.int64)])
        self._radii = np.concatenate([self._radii, np.empty(extra)])


def _is_float32(values: Array) -> bool:
    """Whether float32 holds every value exactly."""
    with np.errstate(over="ignore", under="ignore"):
        return bool((values.astype(np.float32) == values).all())
