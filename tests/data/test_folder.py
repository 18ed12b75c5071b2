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
