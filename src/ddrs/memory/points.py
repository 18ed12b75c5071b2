"""Inputs as points: checked at the edge, exact in float64, named by a digest of their values.

Images mostly are exactly k/255 in their dtype; they are stored as the bytes k. Every other input is
stored as it came.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import InputError
from ddrs.inputs import input_digest
from ddrs.memory.geometry import Array

__all__ = ["Point", "as_array", "decode", "encode", "point"]

DTYPES = frozenset(
    ["<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"],
)
EXACT_INTEGERS = 2**53  # beyond it float64 skips integers


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One input: its own values, the same in float64, and the name that equal values share.

    Attributes:
        x: the input as it came, little-endian, C-contiguous.
        values: `[d]` float64, equal to `x` and with no negative zero.
        digest: SHA-256 of the shape and of `values`.
    """

    x: npt.NDArray[Any]
    values: Array
    digest: str


def as_array(x: Any) -> npt.NDArray[Any]:
    """A numpy array of anything array-like; torch tensors are detached and brought to the CPU.

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


def point(x: npt.NDArray[Any]) -> Point:
    """Check one input of any shape.

    Args:
        x: float16, float32, float64 or integers, as `as_array` returns it.

    Raises:
        InputError: another dtype, no values, NaN, infinity, or integers that float64 cannot hold.
    """
    if x.dtype.str not in DTYPES:
        raise InputError(
            f"the memory takes float16, float32, float64 or integer inputs, not {x.dtype}: "
            "convert the input first"
        )
    if x.size == 0:
        raise InputError(f"the input of shape {x.shape} has no values")
    if x.dtype.itemsize == 8 and x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        if low < -EXACT_INTEGERS or high > EXACT_INTEGERS:
            raise InputError("the input has integers beyond 2^53, which float64 cannot hold")
    values = x.reshape(-1).astype(np.float64) + 0.0  # -0.0 + 0.0 is 0.0
    if not np.isfinite(values).all():
        raise InputError("the input has NaN or infinite values: remove them first")
    return Point(x, values, input_digest(values.reshape(x.shape)))


def encode(x: npt.NDArray[Any]) -> tuple[str, bytes]:
    """The shortest exact encoding of a checked input: `"k/255"` bytes for images, else `"raw"`."""
    if x.dtype.kind == "f":
        k = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
        if (_from_bytes(k, x.dtype) == x).all():
            return "k/255", k.tobytes()
    return "raw", x.tobytes()


def decode(data: bytes, encoding: str, dtype: str, shape: tuple[int, ...]) -> Point:
    """The point that was stored.

    Args:
        data: the bytes that `encode` made.
        encoding: their encoding.
        dtype: the dtype of the input.
        shape: the shape of the input.

    Raises:
        InputError: they do not fit together.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}")
    if encoding not in ("raw", "k/255") or (encoding == "k/255" and "f" not in dtype):
        raise InputError(f"unknown encoding {encoding!r} of {dtype}")
    held = np.dtype(dtype if encoding == "raw" else np.uint8)
    expected = prod(shape) * held.itemsize
    if len(data) != expected:
        raise InputError(f"{len(data)} bytes where shape {shape} of {dtype} needs {expected}")
    x = np.frombuffer(data, dtype=held).reshape(shape)
    return point(x if encoding == "raw" else _from_bytes(x, np.dtype(dtype)))


def _from_bytes(k: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """k/255 as it is computed everywhere: one correctly rounded division in the input's dtype."""
    return np.asarray(np.true_divide(k.astype(dtype), np.asarray(255, dtype)))
