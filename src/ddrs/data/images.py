"""Encoded images -> pixels in [0, 1], one at a time."""

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ddrs.data.reading import reading
from ddrs.inputs import from_pixels

__all__ = [
    "Images",
]

Cells = Callable[[int], Any]  # index -> encoded image: bytes, path, or a hub cell {bytes, path}

EIGHT_BIT_MODES = frozenset(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])


class Images:
    """Encoded images, decoded when asked for; grey ones become RGB where the first one is."""

    def __init__(self, name: str, cells: Cells) -> None:
        self.name = name
        self.cells = cells

    @cached_property
    def rgb(self) -> bool:
        """Whether the first image has colour, and so all are given three channels."""
        return _decode(self.cells(0), rgb=False).shape[0] == 3

    def __call__(self, index: int) -> Tensor:
        """One image, float32 `[channels, height, width]` in [0, 1]."""
        with reading(f"{self.name}: image {index}"):
            return _decode(self.cells(index), self.rgb)


def _decode(cell: Any, rgb: bool) -> Tensor:
    """Encoded image -> float32 `[channels, height, width]` in [0, 1]; `rgb` forces 3 channels."""
    source = cell.get("bytes") or cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(source, bytes | str | Path):
        raise ValueError("it holds no encoded image")
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"its mode is {image.mode}: convert it to 8 bits per channel")
    pixels = np.array(image.convert("L" if image.mode in ("1", "L") and not rgb else "RGB"))
    return torch.from_numpy(from_pixels(np.atleast_3d(pixels).transpose(2, 0, 1), np.float32))
