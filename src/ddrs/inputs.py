"""An input: checked once, named by a digest of its values, and its place on the grid of pixels.

Two inputs are one where their shapes and values are equal, whatever dtype holds them. Images
mostly are exactly k/255 in their dtype: then the bytes k say the same in less room.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ddrs.errors import InputError

__all__ = ["DTYPES", "Point", "as_array", "from_pixels", "input_digest", "to_pixels"]

DTYPES = frozenset(
    ["<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"],
)
"""The dtypes of a `Point`."""

EXACT_INTEGERS = 2**53  # beyond it float64 skips integers
PIXEL_MAXIMUM = 255


def input_digest(x: npt.ArrayLike) -> str:
    """SHA-256 over the shape and the values of one input.

    The values are taken as little-endian float64 with -0.0 as 0.0, so an input held in float32 and
    the same input held in float64 are one input.
    """
    x = np.asarray(x)
    return _digest(_float64(x), x.shape)


def from_pixels(k: npt.NDArray[np.uint8], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """k/255: one correctly rounded division in a floating-point dtype.

    Every place that scales pixels calls this, so that one image has the same values everywhere.
    """
    values: npt.NDArray[Any] = np.asarray(k).astype(dtype)
    np.true_divide(values, values.dtype.type(PIXEL_MAXIMUM), out=values)
    return values


def to_pixels(x: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """The bytes k of an image, or None unless `from_pixels` gives every value of `x` again.

    Args:
        x: of any shape and floating-point dtype.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes some byte, and is unequal to it below
        k = np.asarray(np.rint(np.clip(x, 0, 1) * PIXEL_MAXIMUM)).astype(np.uint8)
    return k if (from_pixels(k, x.dtype) == x).all() else None


def as_array(x: Any) -> npt.NDArray[Any]:
    """A numpy array of anything array-like; torch tensors are detached and brought to the CPU.

    It is little-endian and C-contiguous, and a copy only where it has to be.

    Raises:
        InputError: it is no array of numbers.
    """
    try:
        if hasattr(x, "detach"):
            x = x.detach().cpu().numpy()
        array = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot read the input as a numpy array ({error})") from error
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One checked input: its own values, the same in float64, and the name of equal values.

    Made by `Point.of`. It keeps copies: what becomes of the caller's array changes nothing here.

    Attributes:
        x: the input in its own dtype, little-endian, C-contiguous.
        values: `[d]` float64, equal to `x` and with no negative zero.
        digest: `input_digest` of the input.
    """

    x: npt.NDArray[Any]
    values: npt.NDArray[np.float64]
    digest: str

    @classmethod
    def of(cls, x: Any, *, digest: str | None = None) -> Self:
        """Check one input of any shape, and name it.

        Args:
            x: anything that numpy or torch holds in float16, float32, float64 or integers.
            digest: its `input_digest`, where the caller has it already and vouches for it.

        Raises:
            InputError: another dtype, no values, NaN, infinity, or integers that float64 cannot
                hold.
        """
        x = as_array(x).copy()
        if x.dtype.str not in DTYPES:
            raise InputError(
                f"an input holds float16, float32, float64 or integers, not {x.dtype}: "
                "convert it first"
            )
        if x.size == 0:
            raise InputError(f"the input of shape {x.shape} has no values")
        if x.dtype.itemsize == 8 and x.dtype.kind in "iu":
            low, high = int(x.min()), int(x.max())
            if low < -EXACT_INTEGERS or high > EXACT_INTEGERS:
                raise InputError("the input has integers beyond 2^53, which float64 cannot hold")
        values = _float64(x)
        if not np.isfinite(values).all():
            raise InputError("the input has NaN or infinite values: remove them first")
        return cls(x, values, _digest(values, x.shape) if digest is None else digest)


def _float64(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`[d]` little-endian float64 in C order; a new array."""
    values = x.reshape(-1).astype("<f8")
    values += 0.0  # -0.0 + 0.0 is 0.0
    return values


def _digest(values: npt.NDArray[np.float64], shape: tuple[int, ...]) -> str:
    digest = hashlib.sha256(str(shape).encode())
    digest.update(values.data)
    return digest.hexdigest()
