"""Encoded images -> pixels in [0, 1], one at a time."""

from collections.abc import Callable, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ddrs.data.reading import reading
from ddrs.files import check_file
from ddrs.inputs import from_pixels

__all__ = [
    "FORMATS",
    "Images",
]

Cells = Callable[[int], Any]  # index -> encoded image: bytes, a Path, or a hub cell {bytes, path}

# What Pillow may open, by its own names; others of its formats start programs, such as Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

EIGHT_BIT_MODES = frozenset(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])


class Images:
    """Encoded images, decoded when asked for; grey ones become RGB where the first one is.

    Args:
        name: of the dataset, for messages.
        cells: the encoded images.
        homes: directories that a hub cell may name a file in; by default none.
    """

    def __init__(self, name: str, cells: Cells, homes: Sequence[Path] = ()) -> None:
        self.name = name
        self.cells = cells
        self.homes = [home.resolve() for home in homes]

    @cached_property
    def rgb(self) -> bool:
        """Whether the first image has colour, and so all are given three channels."""
        return self._decode(0, rgb=False).shape[0] == 3

    def __call__(self, index: int) -> Tensor:
        """One image, float32 `[channels, height, width]` in [0, 1]."""
        with reading(f"{self.name}: image {index}"):
            return self._decode(index, self.rgb)

    def _decode(self, index: int, rgb: bool) -> Tensor:
        cell = self.cells(index)
        if not isinstance(cell, dict):
            return _decode(cell, rgb)
        if cell.get("bytes"):
            return _decode(cell["bytes"], rgb)
        named = cell.get("path")
        return _decode(None if named is None else self._named(str(named)), rgb)

    def _named(self, name: str) -> Path:
        """The file that a cell names."""
        path = Path(name).resolve()
        if not any(path.is_relative_to(home) for home in self.homes):
            raise ValueError("it names a file elsewhere, which is not read: store the image itself")
        return path


def _decode(source: Any, rgb: bool) -> Tensor:
    """Encoded image -> float32 `[channels, height, width]` in [0, 1]; `rgb` forces 3 channels."""
    if not isinstance(source, bytes | Path):
        raise ValueError("it holds no encoded image")
    if isinstance(source, Path):
        check_file(source)
    file = BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=FORMATS) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"its mode is {image.mode}: convert it to 8 bits per channel")
    pixels = np.array(image.convert("L" if image.mode in ("1", "L") and not rgb else "RGB"))
    return torch.from_numpy(from_pixels(np.atleast_3d(pixels).transpose(2, 0, 1), np.float32))
