import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddrs import data
from ddrs.errors import DataError
from support.pictures import COLOUR, LABELS, assert_holds, png


def write_folder(root: Path, pixels: np.ndarray, labels: Any, names: str = "abc") -> Path:
    for index, label in enumerate(labels):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        (root / names[label] / f"{index:03}.png").write_bytes(png(pixels[index]))
    return root


def test_folder_of_classes(tmp_path: Path) -> None:
    order = np.argsort(LABELS, kind="stable")
    write_folder(tmp_path / "set", COLOUR, LABELS)
    (tmp_path / "set" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "set" / ".hidden").mkdir()
    for split in ("train", "test"):
        d = data.load(f"folder:{tmp_path}/set", split)
        assert_holds(d, COLOUR[order], LABELS[order])
        assert d.classes == ("a", "b", "c")


def test_folder_with_splits_numbers_the_classes_alike(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", COLOUR[:3], [0, 1, 2])
    write_folder(tmp_path / "test", COLOUR[3:5], [0, 2])
    test = data.load(f"folder:{tmp_path}")
    assert_holds(test, COLOUR[3:5], [0, 2])
    assert test.classes == ("a", "b", "c")
    assert_holds(data.load(f"folder:{tmp_path}", "train"), COLOUR[:3], [0, 1, 2])


def test_folder_without_what_was_asked(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", COLOUR[:3], [0, 1, 2])
    with pytest.raises(DataError, match="no split test; there is train"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no inputs for the split test"):
        data.load(f"folder:{tmp_path}/empty")


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "secret", COLOUR[:1], [0])
    root = write_folder(tmp_path / "set", COLOUR[:2], [0, 1])
    (root / "a" / "again.png").symlink_to(root / "a" / "000.png")
    assert len(data.load(f"folder:{root}")) == 3
    (tmp_path / "link").symlink_to(root)
    assert len(data.load(f"folder:{tmp_path}/link")) == 3
    (root / "a" / "x.png").symlink_to(tmp_path / "secret" / "a" / "000.png")
    with pytest.raises(DataError, match=r"a/x\.png leads out of the dataset's directory"):
        data.load(f"folder:{root}")
    (root / "a" / "x.png").unlink()
    (root / "c").symlink_to(tmp_path / "secret" / "a")
    with pytest.raises(DataError, match="set/c leads out of the dataset's directory"):
        data.load(f"folder:{root}")


def test_the_cache_of_the_hub_may_keep_its_files_beside_it(tmp_path: Path) -> None:
    blobs = tmp_path / "hub" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "1f").write_bytes(png(COLOUR[0]))
    root = tmp_path / "hub" / "snapshots" / "abc"
    (root / "a").mkdir(parents=True)
    (root / "a" / "0.png").symlink_to(blobs / "1f")
    assert_holds(data.load(f"folder:{root}"), COLOUR[:1], LABELS[:1] * 0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    write_folder(tmp_path, COLOUR[:1], [0])
    os.mkfifo(tmp_path / "a" / "pipe.png")
    with pytest.raises(
        DataError, match=r"image 1 .a/pipe.png. cannot be read: .*pipe, device or socket"
    ):
        data.load(f"folder:{tmp_path}")[1]
