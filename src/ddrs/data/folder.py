"""Image files in a subfolder for each class."""

from pathlib import Path

import numpy as np

from ddrs.data.dataset import SPLITS, Dataset, checked
from ddrs.data.images import Images
from ddrs.data.reading import existing, home_of, inside
from ddrs.data.split import Split
from ddrs.errors import DataError

__all__ = [
    "open_folder",
]

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)


def open_folder(spec: str, source: str, split: Split) -> Dataset:
    """A directory of images, with or without a folder for each split; no link may leave it."""
    root = existing(spec, source)
    home = home_of(root)
    parts = [name for name in SPLITS if _subfolders(root / name)]
    if parts and split not in parts:
        raise DataError(f"{spec}: no split {split}; there is {parts[0]}")
    # The parts share their numbering, even where one of them lacks a class.
    roots = [root / name for name in parts] or [root]
    classes = sorted({name for folder in roots for name in _subfolders(folder)})
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        folder = inside(spec, home, (root / split if parts else root) / name)
        found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        for link in filter(Path.is_symlink, found):
            inside(spec, home, link)
        files += found
        labels += [label] * len(found)
    images = Images(spec, files.__getitem__)
    return checked(spec, split, np.array(labels, np.int64), images, classes)


def _subfolders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return [child.name for child in path.iterdir() if child.is_dir() and child.name[0] != "."]
