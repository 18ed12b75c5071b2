"""A table of kinds of images: the pixels that a person sees in each, or the line that names it."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddrs import data
from ddrs.data.preparation import Preparation
from ddrs.errors import ConfigurationError, DataError, DDRSWarning

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3
GREY = np.array([[0, 100, 255], [7, 8, 9]], np.uint8)  # [height, width]
DEEP = np.array([[0, 1, 65535], [40000, 256, 255]], np.uint16)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def plain(mode: str, *pixels: Any) -> Image.Image:
    """An image one pixel high."""
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    """Each colour of a palette once."""
    image = plain("P", *range(len(colours)))
    image.putpalette([value for colour in colours for value in colour])
    return image


def turned(orientation: int) -> bytes:
    image = plain("RGB", RED, GREEN, BLUE)
    exif = image.getexif()
    exif[0x0112] = orientation
    return encoded(image, exif=exif)


def animated(form: str, **options: Any) -> bytes:
    frames = [plain("RGB", RED, RED), plain("RGB", BLUE, BLUE)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)


def pgm16() -> bytes:
    return b"P5 3 2 65535\n" + DEEP.astype(">u2").tobytes()


# name of the file -> its bytes, and the pixels [height, width, channels] in [0, 1] that it has
SEEN: dict[str, tuple[Callable[[], bytes], Any]] = {
    "L.png": (lambda: encoded(Image.fromarray(GREY)), GREY[..., None] / 255),
    "RGB.png": (lambda: encoded(plain("RGB", RED, (51, 0, 102))), [[(1, 0, 0), (0.2, 0, 0.4)]]),
    "1.png": (lambda: encoded(plain("1", 0, 1)), [[[0], [1]]]),
    "1.pbm": (lambda: b"P4 2 1\n\x40", [[[1], [0]]]),  # 1 is black there
    "LA-opaque.png": (lambda: encoded(plain("LA", (51, 255))), [[[0.2]]]),
    "RGBA-opaque.png": (lambda: encoded(plain("RGBA", (*RED, 255))), [[(1, 0, 0)]]),
    "P.png": (lambda: encoded(palette(RED, GREEN)), [[(1, 0, 0), (0, 1, 0)]]),
    "P.gif": (lambda: encoded(palette(BLUE, GREEN), "GIF"), [[(0, 0, 1), (0, 1, 0)]]),
    "CMYK.tif": (
        lambda: encoded(plain("CMYK", (0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255)), "TIFF"),
        [[(1, 1, 1), (1, 0, 0), (0, 0, 0)]],
    ),
    "I16.png": (lambda: encoded(Image.fromarray(DEEP)), DEEP[..., None] / 65535),
    "I16.tif": (lambda: encoded(Image.fromarray(DEEP), "TIFF"), DEEP[..., None] / 65535),
    "I16.pgm": (pgm16, DEEP[..., None] / 65535),
    "turned-6.png": (lambda: turned(6), [[(1, 0, 0)], [(0, 1, 0)], [(0, 0, 1)]]),
    "turned-3.png": (lambda: turned(3), [[(0, 0, 1), (0, 1, 0), (1, 0, 0)]]),
    "animated.gif": (lambda: animated("GIF"), [[(1, 0, 0)] * 2]),
    "animated.webp": (lambda: animated("WEBP", lossless=True), [[(1, 0, 0)] * 2]),
    "animated.png": (lambda: animated("PNG"), [[(1, 0, 0)] * 2]),
    "pages.tiff": (lambda: animated("TIFF"), [[(1, 0, 0)] * 2]),
    "a PNG after all.jpg": (lambda: encoded(plain("RGB", BLUE)), [[(0, 0, 1)]]),
    "UPPER.PNG": (lambda: encoded(plain("RGB", BLUE)), [[(0, 0, 1)]]),
}  # fmt: skip

# what is transparent is white, and said so
CLEAR: dict[str, tuple[Callable[[], bytes], Any]] = {
    "RGBA.png": (
        lambda: encoded(plain("RGBA", (*RED, 0), (*RED, 255), (*BLACK, 51))),
        [[(1, 1, 1), (1, 0, 0), (0.8, 0.8, 0.8)]],
    ),
    "LA.png": (lambda: encoded(plain("LA", (0, 0), (51, 255))), [[[1], [0.2]]]),
    "P.png": (lambda: encoded(palette(RED, GREEN), transparency=0), [[(1, 1, 1), (0, 1, 0)]]),
    "P.gif": (lambda: encoded(palette(RED, GREEN), "GIF", transparency=1), [[(1, 0, 0), (1,) * 3]]),
    "tRNS.png": (
        lambda: encoded(plain("RGB", RED, GREEN), transparency=RED),
        [[(1, 1, 1), (0, 1, 0)]],
    ),
}  # fmt: skip


def huge() -> bytes:
    """A PNG whose header speaks of 20000 x 20000 pixels."""
    content = bytearray(encoded(plain("1", 0)))
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def photo() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.png": (lambda: b"", "it is empty"),
    "cut.jpg": (lambda: photo()[:900], "truncated"),
    "cut.png": (lambda: encoded(Image.fromarray(GREY))[:50], "."),
    "a page.jpg": (lambda: b"<html>not found</html>", "it is no BMP, GIF, JPEG, PNG, PPM, TIFF or"),
    "enormous.png": (huge, "it has more than 178956970 pixels: make it smaller first"),
    "I32.tif": (
        lambda: encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
        "32 bits and nothing says which value is white",
    ),
    "F.tif": (
        lambda: encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
        "32 bits and nothing says which value is white",
    ),
    "LAB.tif": (lambda: encoded(plain("LAB", RED), "TIFF"), "its colours are LAB: save it as RGB"),
}


def alone(folder: Path, name: str, content: bytes) -> str:
    (folder / "a").mkdir()
    (folder / "a" / name).write_bytes(content)
    return f"folder:{folder}"


def assert_seen(x: torch.Tensor, pixels: Any) -> None:
    expected = np.asarray(pixels, np.float64).transpose(2, 0, 1)
    assert x.dtype == torch.float32
    assert tuple(x.shape) == expected.shape
    assert np.abs(x.numpy() - expected).max() < 1e-7


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.filterwarnings("error")
def test_what_is_seen(tmp_path: Path, name: str) -> None:
    make, pixels = SEEN[name]
    dataset = data.load(alone(tmp_path, name, make()))
    assert_seen(dataset[0][0], pixels)
    assert dataset.file_name(0) == f"a/{name}"


@pytest.mark.parametrize("name", CLEAR)
def test_what_is_transparent_is_white_and_said_once(tmp_path: Path, name: str) -> None:
    make, pixels = CLEAR[name]
    with pytest.warns(DDRSWarning, match=rf"image 0 \(a/{name}\) has transparent") as noted:
        x, _ = data.load(alone(tmp_path, name, make()))[0]
    assert_seen(x, pixels)
    assert len(noted) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(DataError, match=rf"image 0 \(a/{name}\) cannot be read: .*{message}") as e:
        data.load(alone(tmp_path, name, make()))
    assert "\n" not in str(e.value)


def test_an_adobe_jpeg_in_cmyk(tmp_path: Path) -> None:
    make = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    x, _ = data.load(alone(tmp_path, "a.jpg", make))[0]
    assert np.abs(x.mean((1, 2)).numpy() - (1, 0, 0)).max() < 0.02


@pytest.mark.parametrize(
    ("preparation", "shape", "pixel"),
    [
        (Preparation(rgb=True), (3, 2, 3), 100 / 255),
        (Preparation(rgb=False), (1, 2, 3), 100 / 255),
        (Preparation(crop=1), (1, 1, 1), None),
        (Preparation(resize=4), (1, 4, 6), None),
        (Preparation(resize=(4, 5)), (1, 4, 5), None),
        (Preparation(resize=4, crop=3), (1, 3, 3), None),
        (Preparation(crop=(2, 1)), (1, 2, 1), 100 / 255),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_channels_and_size(
    tmp_path: Path,
    preparation: Preparation,
    shape: tuple[int, ...],
    pixel: float | None,
    deep: bool,
) -> None:
    image = Image.fromarray(GREY.astype(np.uint16) * 257 if deep else GREY)
    x, _ = data.load(alone(tmp_path, "a.png", encoded(image)), preparation=preparation)[0]
    assert tuple(x.shape) == shape
    if pixel is not None:
        row = x[:, 0, shape[2] // 2]
        assert torch.allclose(row, torch.full_like(row, pixel))
    if not deep:  # resized pixels are multiples of 1/255 too
        assert torch.equal(x, (x * 255).round() / 255)


def test_grey_is_the_luma(tmp_path: Path) -> None:
    spec = alone(tmp_path, "a.png", encoded(plain("RGB", RED, GREEN, BLUE)))
    x, _ = data.load(spec, preparation=Preparation(rgb=False))[0]
    assert np.abs(x[0, 0].numpy() - (0.299, 0.587, 0.114)).max() < 1 / 255


def test_mixed_sizes_and_channels_name_the_file_and_the_option(tmp_path: Path) -> None:
    spec = alone(tmp_path, "0.png", encoded(Image.fromarray(GREY)))
    (tmp_path / "a" / "1.png").write_bytes(encoded(Image.new("L", (8, 5))))
    with pytest.raises(DataError, match=r"input 1 \(a/1.png\) .*--resize 256 --crop 224"):
        data.load(spec)[1]
    both = data.load(spec, preparation=Preparation(resize=4, crop=4))
    assert both[0][0].shape == both[1][0].shape == (1, 4, 4)
    with pytest.raises(DataError, match=r"0\.png.*2 x 3 pixels are less than the 4 x 4 to cut"):
        data.load(spec, preparation=Preparation(crop=4))
    (tmp_path / "a" / "1.png").write_bytes(encoded(Image.new("RGB", (3, 2))))
    with pytest.raises(DataError, match=r"input 1 \(a/1.png\) .*--rgb, or all in grey with --gray"):
        data.load(spec)[1]


@pytest.mark.parametrize("size", [0, -3, 10**9, (4, 0)])
def test_a_size_that_no_image_can_have(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 16384 pixels"):
        Preparation(crop=size)


def test_arrays_are_not_prepared_as_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="digits holds arrays"):
        data.load("digits", preparation=Preparation(rgb=True))
