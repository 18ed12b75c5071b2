import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddrs import data
from ddrs.data.preparation import Preparation
from ddrs.errors import DataError
from support.pictures import GREY, LABELS, assert_holds, write_parquet


@pytest.mark.parametrize("form", ["parquet", "npz", "folder"])
def test_a_missing_path_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=r"nothing exists at .*absent"):
        data.load(f"{form}:{tmp_path}/absent")


@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "target"])
def test_parquet_accepts_the_usual_columns(tmp_path: Path, label: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", GREY, LABELS, ("img", label))
    assert_holds(data.load(f"parquet:{path}"), GREY, LABELS)


HEADERS = {
    "more than the machine has": "{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 2)}"
    % 10**13,
    "no number of elements": "{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 2)}"
    % ("9" * 400),
    "open brackets": "(" * 9000,
    "nested deep": "-" * 9000 + "1",
    "keys of two kinds": "{(1, 2): 3, None: 4}",
    "a key that can be none": "{[1]: 3}",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_made_up_header_of_an_array_is_one_error(tmp_path: Path, what: str) -> None:
    header = HEADERS[what].encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", array)
    with pytest.raises(DataError, match=r"a\.npz cannot be read: ."):
        data.load(f"npz:{tmp_path}/a.npz")


@pytest.mark.parametrize(("flag", "method"), [(1, 0), (0, 99)])
def test_an_encrypted_or_unknown_archive_is_one_error(
    tmp_path: Path, flag: int, method: int
) -> None:
    np.savez(tmp_path / "a.npz", x=GREY, y=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + at], content[place + at + 2] = flag, method
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz cannot be read: ."):
        data.load(f"npz:{tmp_path}/a.npz")


def test_a_thin_image_is_not_blown_up(tmp_path: Path) -> None:
    Image.new("L", (1, 10_000)).save(tmp_path / "thin.png")
    with pytest.raises(DataError, match=r"thin\.png.*20000000 x 2000 pixels"):
        data.load(f"image:{tmp_path}/thin.png", preparation=Preparation(resize=2000))[0]
