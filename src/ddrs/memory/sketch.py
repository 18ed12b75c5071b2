"""A few numbers per input that never overstate a distance: they find the regions that matter.

Let D be the orthonormal discrete cosine transform, L its lowest frequencies and H all the others.
The map s(x) = (L D x, |H D x|) keeps lengths and does not stretch: |s(x) - s(z)| <= |x - z|, since
D is an isometry and | |a| - |b| | <= |a - b|. Images have most of their energy in low frequencies,
so the bound is close for them; for any other input it holds all the same.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from ddrs.memory.geometry import Array

__all__ = ["SKETCH_ERROR", "SKETCH_SIZE", "Sketch", "sketch"]

Sketch = npt.NDArray[np.float32]

SKETCH_SIZE = 30  # numbers per sketch: 29 frequencies and one length

# A sketch as computed is within SKETCH_ERROR |x| of s(x). Rounding to float32 takes 2^-24 |x|; the
# float64 transform stays below its O(log d) 2^-53 |x| by many orders of magnitude.
SKETCH_ERROR = 2.0**-22


def sketch(xs: Array) -> Sketch:
    """The sketch of each input.

    Args:
        xs: `[batch, *shape]` float64.

    Returns:
        `[batch, SKETCH_SIZE]` float32; not finite where an input is too large for it.
    """
    shape = xs.shape[1:] or (1,)
    with np.errstate(all="ignore"):
        axes = tuple(range(1, len(shape) + 1))
        spectrum = fft.dctn(xs.reshape(-1, *shape), norm="ortho", axes=axes)
        spectrum = spectrum.reshape(len(xs), -1)
        low = _low(shape)
        result = np.zeros((len(xs), SKETCH_SIZE), np.float32)
        result[:, : len(low)] = spectrum[:, low]
        spectrum[:, low] = 0.0
        result[:, -1] = np.sqrt(np.einsum("ij,ij->i", spectrum, spectrum))
    return result


@lru_cache(maxsize=16)
def _low(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The flat positions of the lowest frequencies: those with the least product of f + 1."""
    product = np.ones((1,) * len(shape))
    for axis, length in enumerate(shape):
        ramp = np.arange(1.0, length + 1)
        product = product * ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return np.argsort(product.reshape(-1), kind="stable")[: SKETCH_SIZE - 1].copy()
