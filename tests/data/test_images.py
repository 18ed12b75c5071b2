from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ddrs import data
from ddrs.errors import DataError
from support.pictures import COLOUR, GREY, assert_holds, png, write_parquet


def test_parquet_accepts_bare_bytes_and_no_paths(tmp_path: Path) -> None:
    file = tmp_path / "0.png"
    file.write_bytes(png(COLOUR[0]))
    rows = {"image": [png(COLOUR[0]), png(COLOUR[1])], "label": [0, 1]}
    pq.write_table(pa.table(rows), tmp_path / "bare.parquet")
    assert_holds(data.load(f"parquet:{tmp_path}/bare.parquet"), COLOUR[:2], [0, 1])
    cells = {
        "it names a file elsewhere": [{"bytes": None, "path": str(file)}],
        "it holds no encoded image": [str(file)],
    }
    for message, cell in cells.items():
        pq.write_table(pa.table({"image": cell, "label": [0]}), tmp_path / "path.parquet")
        with pytest.raises(DataError, match=f"image 0.* cannot be read: {message}"):
            data.load(f"parquet:{tmp_path}/path.parquet")[0]
    cells = [{"bytes": png(COLOUR[0]), "path": "/etc/hostname"}]  # as the hub writes them
    pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "both.parquet")
    assert_holds(data.load(f"parquet:{tmp_path}/both.parquet"), COLOUR[:1], [0])


@pytest.mark.parametrize("form", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_the_formats_that_are_opened(tmp_path: Path, form: str) -> None:
    file = BytesIO()
    Image.fromarray(COLOUR[0]).save(file, form)
    pq.write_table(pa.table({"image": [file.getvalue()], "label": [0]}), tmp_path / "a.parquet")
    assert data.load(f"parquet:{tmp_path}/a.parquet")[0][0].shape == (3, 5, 4)


def pcx() -> bytes:
    file = BytesIO()
    Image.fromarray(COLOUR[0]).save(file, "PCX")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", pcx()],
)
def test_other_formats_start_no_program(tmp_path: Path, content: bytes) -> None:
    Image.init()
    with Image.open(BytesIO(content)):  # it would be opened
        pass
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(content)
    with pytest.raises(DataError, match=r"image 0 \(a/0.png\) cannot be read: it is no BMP"):
        data.load(f"folder:{tmp_path}")[0]


def test_grey_images_become_colour_where_the_first_is(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [COLOUR[0], GREY[1]], [0, 1])
    pixels = np.stack([COLOUR[0], np.repeat(GREY[1][..., None], 3, axis=2)])
    assert_holds(data.load(f"parquet:{path}"), pixels, [0, 1])
    path = write_parquet(tmp_path / "a.parquet", [GREY[0], COLOUR[1]], [0, 1])
    d = data.load(f"parquet:{path}")
    with pytest.raises(DataError, match=r"input 1 has shape \(3, 5, 4\).*\(1, 5, 4\)"):
        d[1]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (COLOUR[1][:4], r"input 1 has shape \(3, 4, 4\) .* \(3, 5, 4\): resize"),
        (b"no image", "image 1 cannot be read: it is no BMP, GIF"),
        (png(COLOUR[1])[:60], "image 1 cannot be read"),
        (None, "image 1 cannot be read: it holds no encoded image"),
        (b"", "image 1 cannot be read: it holds no encoded image"),
    ],
)
def test_a_bad_image_is_named_and_the_others_are_still_read(
    tmp_path: Path, pixels: Any, message: str
) -> None:
    cells = [COLOUR[0], pixels, COLOUR[2]]
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', cells, [0, 1, 2])}")
    with pytest.raises(DataError, match=message):
        d[1]
    with pytest.raises(DataError, match=message):
        d.batch(0, 3)
    assert torch.equal(d[2][0], torch.tensor(COLOUR[2]).permute(2, 0, 1) / 255)


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    image = Image.fromarray(COLOUR[0])
    exif = image.getexif()
    exif[0x0112] = 6  # turn a quarter to the right to view
    image.save(tmp_path / "a" / "0.png", exif=exif)
    assert_holds(data.load(f"folder:{tmp_path}"), np.rot90(COLOUR[0], -1)[None].copy(), [0])
