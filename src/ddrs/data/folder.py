"""Image files: in a subfolder for each class, or without classes."""

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddrs.data.dataset import Dataset, checked
from ddrs.data.images import Images
from ddrs.data.labels import Labels, in_order
from ddrs.data.preparation import Preparation
from ddrs.data.reading import existing, home_of, inside
from ddrs.data.split import Split, choose_split, split_of
from ddrs.errors import DataError, DDRSWarning

__all__ = [
    "open_folder",
    "open_image",
]

IMAGE_SUFFIXES = frozenset(
    [
        *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    ]
)


def open_folder(spec: str, source: str, split: Split, preparation: Preparation) -> Dataset:
    """A directory of images, with or without a folder for each split; no link may leave it."""
    root = existing(spec, source)
    found = _arranged(spec, root, split)
    home = home_of(root)
    files: list[Path] = []
    labels: list[int] = []
    others: list[Path] = []
    for label, folder in enumerate(found.folders):
        images, passed_over = _files(inside(spec, home, folder))
        for link in filter(Path.is_symlink, images):
            inside(spec, home, link)
        files += images
        labels += [label] * len(images)
        others += passed_over
    if found.classes:
        others += [file for file in _own_files(found.folders[0].parent) if _is_image(file)]
    _note_passed_over(spec, root, others)
    decoded = Images(spec, files.__getitem__, preparation=preparation, root=root)
    y = np.array(labels, np.int64) if found.classes else None
    read = Labels(len(files), y, tuple(found.classes), named=bool(found.classes))
    return checked(spec, found.split, read, decoded, decoded.file_name)


def open_image(spec: str, source: str, split: Split, preparation: Preparation) -> Dataset:
    """One image, without a label."""
    file = existing(spec, source)
    if file.is_dir():
        raise DataError(f"{spec} is a directory: name it folder:{source}")
    images = Images(spec, [file].__getitem__, preparation=preparation)
    return checked(spec, split, Labels(1, None), images, images.file_name)


@dataclass(frozen=True)
class _Arranged:
    """What the folders below a root are: one for each class, or one for all without classes."""

    split: Split
    folders: list[Path]
    classes: list[str]


def _arranged(spec: str, root: Path, split: Split) -> _Arranged:
    if not root.is_dir():
        raise DataError(f"{spec} is a file: one image alone is image:PATH")
    below = _subfolders(root)
    parts = _parts(spec, root)
    with_classes = {part: folder for part, folder in parts.items() if _subfolders(folder)}
    if not with_classes and parts and len(below) == len(parts):
        example = next(iter(parts.values()))
        raise DataError(
            f"{spec}: {' and '.join(folder.name for folder in parts.values())} are parts of a "
            "dataset but hold no folder for each class: sort the images into such folders, or "
            f"certify them without labels as folder:{root / example.name}"
        )
    if with_classes and split in parts and split not in with_classes:
        raise DataError(
            f"{spec}: {parts[split].name} holds no folder for each class: certify its images "
            f"without labels as folder:{parts[split]}"
        )
    if with_classes:
        chosen = choose_split(spec, split, with_classes)
        home, whole = with_classes[chosen], list(with_classes.values())
    else:
        chosen, home, whole = split, root, [root, *_other_parts(root, below)]
    # The parts share their numbering, even where one of them lacks a class.
    classes = in_order(name for folder in whole for name in _subfolders(folder)) if below else []
    return _Arranged(chosen, [home / name for name in classes] or [home], classes)


def _other_parts(root: Path, classes: Iterable[str]) -> list[Path]:
    """The parts beside a root that is one itself, as in ROOT/val; those with classes of its own."""
    place = Path(os.path.abspath(root))
    if split_of(place.name) is None:
        return []
    beside = [place.parent / name for name in _subfolders(place.parent) if split_of(name)]
    return [part for part in beside if not set(classes).isdisjoint(_subfolders(part))]


def _parts(spec: str, root: Path) -> dict[Split, Path]:
    """The folders that are named for a split."""
    parts: dict[Split, Path] = {}
    for name in sorted(_subfolders(root)):
        part = split_of(name)
        if part is None:
            continue
        if part in parts:
            raise DataError(
                f"{spec}: {parts[part].name} and {name} are both the split {part}: "
                "name one of them in the spec"
            )
        parts[part] = root / name
    return parts


def _subfolders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return [child.name for child in path.iterdir() if child.is_dir() and not _hidden(child.name)]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _own_files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if not _hidden(file.name) and file.is_file()]


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images in a folder and below it, and the other files; without hidden ones."""
    shown = [file for file in folder.rglob("*") if not _hidden(file.name)]
    images = sorted(filter(_is_image, shown))
    return images, [file for file in shown if not _is_image(file) and file.is_file()]


def _note_passed_over(spec: str, root: Path, files: Iterable[Path]) -> None:
    passed_over = sorted(files)
    if passed_over:
        example = passed_over[0].relative_to(root)
        warnings.warn(
            f"{spec}: {len(passed_over)} files are no images of a class that can be read, and are "
            f"passed over, the first of them {example}",
            DDRSWarning,
            stacklevel=2,
        )
