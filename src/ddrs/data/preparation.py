"""What is done to an image before it is an input: channels and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:  # a part of every start: imported where images are read
    from PIL.Image import Image

__all__ = ["CROP_OPTION", "RESIZE_OPTION", "RGB_OPTION", "Preparation", "Size", "preparation_of"]

Size = int | tuple[int, int]

MOST_PIXELS = 2**14  # of one side

RGB_OPTION: Mapping[str, str] = {
    "flag": "--rgb/--gray",
    "help": "Read every image with three channels, or with one. Default: as the first image is.",
    "panel": "Images",
}
RESIZE_OPTION: Mapping[str, str] = {
    "metavar": "PIXELS",
    "help": "Resize every image so that its shorter side has this many pixels.",
    "panel": "Images",
}
CROP_OPTION: Mapping[str, str] = {
    "metavar": "PIXELS",
    "help": "Then take the square of this many pixels a side in the middle of every image.",
    "panel": "Images",
}


@dataclass(frozen=True)
class Preparation:
    """What is done to every image; noise and radii are meant in the pixels that come out.

    It resizes 8-bit pixels, so that they stay multiples of 1/255.

    Attributes:
        rgb: three channels (true), or one by the luma of ITU-R 601 (false); None for those of the
            first image, where grey ones become colour.
        resize: pixels of the shorter side, or height and width of the whole; None for as it is.
        crop: pixels of the square, or height and width, in the middle; None for all.
        interpolation: how `resize` interpolates; it averages where it makes smaller.

    Raises:
        ConfigurationError: a size that no image can have.
    """

    rgb: bool | None = None
    resize: Size | None = None
    crop: Size | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"

    def __post_init__(self) -> None:
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            sides = size if isinstance(size, tuple) else (size,)
            if any(side is not None and not 1 <= side <= MOST_PIXELS for side in sides):
                raise ConfigurationError(
                    f"{name} must be from 1 to {MOST_PIXELS} pixels, got {size}"
                )

    @property
    def changes_size(self) -> bool:
        """Whether images come out with other pixels than their own."""
        return self.resize is not None or self.crop is not None

    def __str__(self) -> str:
        """In words, e.g. "resized to 256 pixels of the shorter side and cropped to 224 x 224"."""
        parts = []
        if self.rgb is not None:
            parts.append("read in colour" if self.rgb else "read in grey")
        if isinstance(self.resize, tuple):
            parts.append(f"resized to {self.resize[0]} x {self.resize[1]}")
        elif self.resize is not None:
            parts.append(f"resized to {self.resize} pixels of the shorter side")
        if self.crop is not None:
            parts.append("cropped to {} x {}".format(*_pair(self.crop)))
        return ", ".join(parts) or "taken as they are"

    def sized(self, image: Image) -> Image:
        """An image, resized and cropped.

        Raises:
            ValueError: it is smaller than the crop, or so long that it would become too large.
        """
        from PIL.Image import Resampling

        if self.resize is not None:
            size = _resized(self.resize, image.size)
            if max(size) > MOST_PIXELS:
                raise ValueError(
                    f"resized it would have {size[1]} x {size[0]} pixels, and no side may have "
                    f"more than {MOST_PIXELS}"
                )
            if size != image.size:
                image = image.resize(size, Resampling[self.interpolation.upper()])
        if self.crop is None:
            return image
        height, width = _pair(self.crop)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        if left < 0 or top < 0:
            raise ValueError(
                f"its {image.height} x {image.width} pixels are less than the {height} x {width} "
                "to cut out: resize it with --resize"
            )
        return image.crop((left, top, left + width, top + height))

    def refuse(self, spec: str) -> None:
        """Say that a source of arrays knows nothing of this.

        Raises:
            ConfigurationError: something is to be done.
        """
        if self != Preparation():
            raise ConfigurationError(
                f"{spec} holds arrays: --rgb, --gray, --resize and --crop are for image files"
            )


def _pair(size: Size) -> tuple[int, int]:
    """Height and width."""
    return size if isinstance(size, tuple) else (size, size)


def _resized(size: Size, now: tuple[int, int]) -> tuple[int, int]:
    """Width and height, as Pillow has them."""
    if isinstance(size, tuple):
        return size[1], size[0]
    width, height = now
    if width <= height:
        return size, max(1, int(size * height / width))
    return max(1, int(size * width / height)), size


def preparation_of(source: Any) -> Preparation:
    """That of a job or a configuration, whose `rgb`, `resize` and `crop` say it."""
    return Preparation(source.rgb, source.resize, source.crop)
