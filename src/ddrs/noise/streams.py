"""Random streams keyed by what they are for, so that the same seed gives the same noise.

A stream is named by (seed, input digest, stage). Its draws are cut into chunks whose length depends
only on the size of one draw, and every chunk has a generator of its own, keyed by a 256-bit hash of
the name and the chunk number. Which draws share a batch, in which order inputs come, and how many
workers there are therefore cannot change them. Selection, the choice of sigma and estimation are
different stages and never share a draw.

NumPy's generators are used rather than torch's because a CPU `torch.Generator` keeps only 32 bits
of its seed, too few to keep millions of streams apart.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:
    from ddrs.noise.distributions import Noise

__all__ = ["Draws", "Source", "Stream", "check_seed", "fresh_seed"]

Draws = npt.NDArray[np.float32] | npt.NDArray[np.float64]

CHUNK_ELEMENTS = 65_536  # long enough to repay the making of a generator, short enough to skip


def fresh_seed() -> int:
    """A 63-bit seed from the operating system's entropy."""
    return secrets.randbits(63)


def check_seed(seed: int) -> None:
    """Refuse a seed that is no 63-bit number.

    Raises:
        ConfigurationError: it is below 0 or above 2^63 - 1.
    """
    if not 0 <= seed < 2**63:
        raise ConfigurationError(f"seed must be from 0 to 2^63 - 1, got {seed}")


class Source(Protocol):
    """Where the noise of one stage for one input comes from, draw after draw.

    `Stream` fills arrays in the memory of the CPU. Another source may fill tensors on a device; its
    draws are others, so a run keeps to one kind of source.
    """

    def fill(self, out: Any, noise: Noise) -> None:
        """Write the next `len(out)` draws of `noise` at sigma 1 into `out`, `[draws, *shape]`."""


@dataclass
class Stream:
    """The draws of one stage for one input, in order: draw 0, 1, 2, ...; a `Source`.

    Args:
        seed: the run's seed.
        digest: digest of the input the draws belong to.
        stage: what the draws are for, e.g. `"selection"`.
        shape: the shape of one draw (that of one input).
    """

    seed: int
    digest: str
    stage: str
    shape: tuple[int, ...]
    position: int = field(default=0, init=False)
    _generator: np.random.Generator | None = field(default=None, init=False, repr=False)

    @property
    def chunk(self) -> int:
        """Draws per chunk: a function of the shape only."""
        return max(1, CHUNK_ELEMENTS // max(1, prod(self.shape)))

    def fill(self, out: Draws, noise: Noise) -> None:
        """Write the next draws into `out`, `[draws, *shape]` float32 or float64, C-contiguous."""
        done = 0
        while done < len(out):
            if self._generator is None or self.position % self.chunk == 0:
                self._generator = self._open(self.position // self.chunk)
            step = min(len(out) - done, self.chunk - self.position % self.chunk)
            noise.sample(self._generator, out[done : done + step])
            self.position += step
            done += step

    def _open(self, chunk: int) -> np.random.Generator:
        name = f"{self.seed}/{self.digest}/{self.stage}/{chunk}".encode()
        key = hashlib.blake2b(name, digest_size=32, person=b"ddrs-stream").digest()
        return np.random.Generator(np.random.SFC64(_Key(key)))  # type: ignore[arg-type]


class _Key(np.random.bit_generator.ISeedSequence):
    """Hashed bytes as the seed of a generator: mixing them once more would cost five times more."""

    def __init__(self, key: bytes) -> None:
        self._words = np.frombuffer(key, dtype=np.uint64)

    def generate_state(
        self, n_words: int, dtype: npt.DTypeLike = np.uint32
    ) -> npt.NDArray[np.uint32 | np.uint64]:
        """The first `n_words` words of the key."""
        return self._words.view(dtype)[:n_words]
