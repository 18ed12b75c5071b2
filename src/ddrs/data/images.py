"""Encoded images -> pixels in [0, 1], one at a time."""

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ddrs.data.preparation import Preparation
from ddrs.data.reading import reading
from ddrs.errors import DDRSWarning
from ddrs.files import check_file
from ddrs.inputs import from_pixels

__all__ = [
    "FORMATS",
    "Images",
]

Cells = Callable[[int], Any]  # index -> encoded image: bytes, a Path, or a hub cell {bytes, path}

# What Pillow may open, by its own names; others of its formats start programs, such as Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

WHITE_16 = 65535
SIXTEEN_BIT_MODES = frozenset(["I;16", "I;16L", "I;16B", "I;16N"])
# Formats whose mode I is 16 bits wide; elsewhere nothing says which value is white.
SIXTEEN_BIT_FORMATS = frozenset(["PNG", "PPM"])


class Images:
    """Encoded images, decoded when asked for; grey ones become RGB where the first one is.

    An image is read as a viewer shows it: turned as its camera says, colours of its palette, its
    first frame, and white where it is transparent. 16-bit pixels keep their precision.

    Args:
        name: of the dataset, for messages.
        cells: the encoded images.
        homes: directories that a hub cell may name a file in; by default none.
        preparation: what is done to each.
        root: the directory that names of files are below; None where cells are no files.
    """

    def __init__(
        self,
        name: str,
        cells: Cells,
        homes: Sequence[Path] = (),
        preparation: Preparation = Preparation(),
        root: Path | None = None,
    ) -> None:
        self.name = name
        self.cells = cells
        self.homes = [home.resolve() for home in homes]
        self.preparation = preparation
        self.root = root
        self._noted = False

    @cached_property
    def rgb(self) -> bool | None:
        """The channels of all images; None where the first one is grey, and they are as it is."""
        wanted = self.preparation.rgb
        return wanted if wanted is not None else self._decode(0, None).shape[0] == 3 or None

    def __call__(self, index: int) -> Tensor:
        """One image, float32 `[channels, height, width]` in [0, 1]."""
        with reading(lambda: f"{self.name}: {self._called(index)}"):
            return self._decode(index, self.rgb)

    def file_name(self, index: int) -> str | None:
        """The file that an image comes from; None where it has none."""
        cell = self.cells(index)
        if isinstance(cell, Path):
            name = cell.name if self.root is None else str(cell.relative_to(self.root))
        elif isinstance(cell, dict) and cell.get("path") is not None:
            name = Path(str(cell["path"])).name
        else:
            return None
        return name if name.isprintable() else repr(name)

    def _called(self, index: int) -> str:
        """An image, for messages; what its cell says is looked at where it can be read."""
        try:
            file = self.file_name(index)
        except Exception:  # whatever is wrong comes up again where the image is read
            file = None
        return f"image {index}" + (f" ({file})" if file else "")

    def _decode(self, index: int, rgb: bool | None) -> Tensor:
        image = _opened(self._source(self.cells(index)))
        if image.has_transparency_data:
            image = self._on_white(image, index)
        if image.mode == "F":
            return _grey_floats(self.preparation.sized(image), rgb)
        if image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        if rgb is not None:
            image = image.convert("RGB" if rgb else "L")
        pixels = np.atleast_3d(np.array(self.preparation.sized(image)))
        return torch.from_numpy(from_pixels(pixels.transpose(2, 0, 1), np.float32))

    def _on_white(self, image: Image.Image, index: int) -> Image.Image:
        """An image without its alpha channel, white where that lets through."""
        grey = image.mode in ("1", "L", "LA", "La")
        clear = image.convert("RGBA")
        if np.array(clear.getchannel("A")).min() < 255:
            if not self._noted:
                self._noted = True
                text = "has transparent parts: they are taken as white, in all images like it too"
                warnings.warn(f"{self.name}: {self._called(index)} {text}", DDRSWarning, 2)
            clear = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        return clear.convert("L" if grey else "RGB")

    def _source(self, cell: Any) -> bytes | Path:
        if isinstance(cell, dict):
            named = cell.get("path")
            cell = cell.get("bytes") or (None if named is None else self._inside(str(named)))
        if isinstance(cell, bytes | Path):
            return cell
        raise ValueError("it holds no encoded image")

    def _inside(self, name: str) -> Path:
        """The file that a cell names."""
        path = Path(name).resolve()
        if not any(path.is_relative_to(home) for home in self.homes):
            raise ValueError("it names a file elsewhere, which is not read: store the image itself")
        return path


def _opened(source: bytes | Path) -> Image.Image:
    """The first frame, turned as it is viewed; one of 16 bits as floats in [0, 1], mode F."""
    if isinstance(source, Path):
        check_file(source)
        empty = source.stat().st_size == 0
    else:
        empty = not source
    if empty:
        raise ValueError("it is empty")
    file = BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():  # a large photograph is no attack
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as opened:
                form = opened.format
                image = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError as error:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ValueError(f"it is no {known} image, whatever its name says") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"it has more than {most} pixels: make it smaller first") from error
    if image.mode in SIXTEEN_BIT_MODES or (image.mode == "I" and form in SIXTEEN_BIT_FORMATS):
        return Image.fromarray((np.array(image) / WHITE_16).astype(np.float32))
    if image.mode in ("I", "F"):
        raise ValueError(
            "its pixels have 32 bits and nothing says which value is white: save it with 8 or 16"
        )
    if image.mode in ("LAB", "HSV"):
        raise ValueError(f"its colours are {image.mode}: save it as RGB")
    return image


def _grey_floats(image: Image.Image, rgb: bool | None) -> Tensor:
    x: npt.NDArray[np.float32] = np.array(image)[None].clip(0, 1)
    return torch.from_numpy(x.repeat(3, axis=0) if rgb else x)
