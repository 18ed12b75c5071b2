"""How many rows go through the network together: full batches, of the size that is fastest."""

from collections import deque
from collections.abc import Iterable
from math import prod

from ddrs.errors import ConfigurationError

__all__ = ["Backlog", "BatchSize", "check_batch_size"]

# Features of the first batch: the activations of small networks then stay in the caches.
FIRST_ELEMENTS = 3 * 2**17
MOST_ELEMENTS = 2**22
LEAST_ROWS, MOST_ROWS = 4, 2048

ROUND_SECONDS = 0.1  # one measurement; long enough to be steady
SEARCH_SECONDS = 1.5  # all of them


def check_batch_size(rows: object) -> None:
    """Refuse what is neither `"auto"` nor a number of rows.

    Raises:
        ConfigurationError: it is not.
    """
    if rows != "auto" and (not isinstance(rows, int) or rows < 1):
        raise ConfigurationError(f'batch_size must be "auto" or at least 1, got {rows!r}')


class Backlog:
    """Rows still to be voted on, request by request.

    Args:
        sizes: rows of each request.
    """

    def __init__(self, sizes: Iterable[int]) -> None:
        self._left = deque((request, size) for request, size in enumerate(sizes) if size > 0)
        self.rows = sum(size for _, size in self._left)

    def take(self, capacity: int) -> list[tuple[int, int]]:
        """The next batch, full unless nothing more is left: its segments (request, rows)."""
        segments = []
        while capacity and self._left:
            request, left = self._left.popleft()
            rows = min(left, capacity)
            segments.append((request, rows))
            if left > rows:
                self._left.appendleft((request, left - rows))
            capacity -= rows
            self.rows -= rows
        return segments


class BatchSize:
    """The batch size with the most rows per second, found by doubling and halving on real work.

    No pass is made for the sake of timing: `rows` is the size to use now, and `batches` how many
    batches of it to time together. The first batch of each size only warms it up. Which sizes are
    tried never changes a count.

    Args:
        shape: shape of one input, which gives the first size and the largest.

    Attributes:
        rows: rows of the next batches.
        batches: batches to time together; None once `rows` is final.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        features = prod(shape)
        self._most = max(LEAST_ROWS, min(MOST_ROWS, MOST_ELEMENTS // features))
        first = max(LEAST_ROWS, min(MOST_ROWS // 8, FIRST_ELEMENTS // features))
        self.rows = 2 ** (first.bit_length() - 1)
        self.batches: int | None = 1
        self._warm = False
        self._rates: dict[int, float] = {}  # rows per second
        self._spent = 0.0

    def record(self, batches: int, seconds: float) -> None:
        """Tell how long full batches of the current size took; fewer than asked for say nothing."""
        if self.batches is None or batches < self.batches:
            return
        self._spent += seconds
        each = max(seconds / batches, 1e-9)
        if not self._warm and self._spent + 2 * each < SEARCH_SECONDS:
            self._warm = True
            self.batches = max(2, round(ROUND_SECONDS / each))
            return
        self._rates[self.rows] = self.rows / each
        best = max(self._rates, key=self._rates.__getitem__)
        for rows in (2 * best, best // 2):
            possible = LEAST_ROWS <= rows <= self._most and rows not in self._rates
            expected = 3 * rows / self._rates[best]  # one batch to warm up, two to time
            if possible and self._spent + expected < SEARCH_SECONDS:
                self.rows, self.batches, self._warm = rows, 1, False
                return
        self.rows, self.batches = best, None
