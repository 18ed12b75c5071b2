from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ddrs import data
from ddrs.data import parquet
from ddrs.errors import DataError
from support.pictures import COLOUR, LABELS, assert_holds, write_parquet


@pytest.mark.parametrize("rows", [1000, 4, 1])
def test_parquet_gives_the_pixels_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(parquet, "KEPT_BYTES", 300)  # a row group or two
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, names=["x", "y", "z"], rows=rows)
    for split in ("train", "test"):
        d = data.load(f"parquet:{path}", split)
        assert_holds(d, COLOUR, LABELS)
        assert d.classes == ("x", "y", "z")
    for index in (8, 0, 5, -1, 3, 3, 0):
        x, y = d[index]
        assert torch.equal(x, torch.tensor(COLOUR[index]).permute(2, 0, 1) / 255)
        assert type(y) is int
        assert y == LABELS[index]
    assert [y for _, y in d] == LABELS.tolist()
    with pytest.raises(IndexError):
        d[9]


def test_parquet_keeps_only_what_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "KEPT_BYTES", 300)
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', COLOUR, LABELS, rows=1)}")
    d.batch(0, 9)
    cells: Any = d._read.cells
    assert 1 <= len(cells.kept) < 5
    assert sum(group.nbytes for group in cells.kept.values()) <= 300


def test_parquet_directory_joins_the_files_of_the_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-00001-of-00002.parquet", COLOUR[5:], LABELS[5:])
    write_parquet(tmp_path / "test-00000-of-00002.parquet", COLOUR[:5], LABELS[:5], rows=2)
    d = data.load(f"parquet:{tmp_path}", "test")
    assert_holds(d, COLOUR, LABELS)
    assert d.classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"no file train\*.parquet.*test-00000-of-00002.parquet"):
        data.load(f"parquet:{tmp_path}", "train")


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        data.load(f"parquet:{path}")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        data.load(f"parquet:{path}")
    path.write_bytes(whole)
    assert_holds(data.load(f"parquet:{path}"), COLOUR, LABELS)


def test_parquet_with_a_damaged_row_group(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    chunk = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    for position in range(chunk.data_page_offset, chunk.data_page_offset + 40):
        content[position] ^= 255
    path.write_bytes(bytes(content))
    d = data.load(f"parquet:{path}")
    with pytest.raises(DataError, match="image 7 cannot be read"):
        d[7]
    assert torch.equal(d[5][0], torch.tensor(COLOUR[5]).permute(2, 0, 1) / 255)


def test_a_parquet_file_that_goes_away_later(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    d = data.load(f"parquet:{path}")
    path.rename(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="image 8 cannot be read"):
        d[8]
    (tmp_path / "b.parquet").rename(path)
    assert_holds(d, COLOUR, LABELS)


def test_parquet_says_what_it_found(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, ("picture", "label"))
    with pytest.raises(DataError, match="no column image or img; found picture, label"):
        data.load(f"parquet:{path}")
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, ("image", "kind"))
    with pytest.raises(DataError, match=r"no column label or labels.*; found image, kind"):
        data.load(f"parquet:{path}")
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, names=["x", "y"])
    with pytest.raises(DataError, match="label 2 but only 2 class names"):
        data.load(f"parquet:{path}")
