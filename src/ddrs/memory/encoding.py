"""The bytes of an input in a row of the store: pixels k where it is exactly k/255, else its own."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ddrs.errors import InputError
from ddrs.inputs import DTYPES, Point, from_pixels, to_pixels

__all__ = ["decode", "encode"]


def encode(x: npt.NDArray[Any]) -> tuple[str, bytes]:
    """The shortest exact encoding of the input of a `Point`.

    Returns:
        `"k/255"` and a byte per value for images, otherwise `"raw"` and the values as they are.
    """
    k = to_pixels(x) if x.dtype.kind == "f" else None
    return ("raw", x.tobytes()) if k is None else ("k/255", k.tobytes())


def decode(data: bytes, encoding: str, dtype: str, shape: tuple[int, ...]) -> Point:
    """The input that was stored.

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
    return Point.of(x if encoding == "raw" else from_pixels(x, dtype))
