"""Datasets by name: one map-style view of labelled inputs, whatever holds them.

Images become float32 `[channels, height, width]` in [0, 1], the space that sigma and radii are
meant in. They are decoded one at a time, when asked for. All inputs of a dataset have one shape.
"""

import json
import zipfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils import data as torch_data

from ddrs.errors import ConfigurationError, DataError

__all__ = ["Dataset", "Split", "load"]

Split = Literal["train", "test"]
Cells = Callable[[int], Any]  # index -> encoded image: bytes, path, or a hub cell {bytes, path}

SPLITS: tuple[Split, ...] = get_args(Split)
FORMS = "digits, parquet:PATH, npz:PATH, folder:PATH, hf:NAME"
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
IMAGE_SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
EIGHT_BIT_MODES = frozenset(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
MOST_CLASSES = 2**20  # a label beyond is an identifier, not a class
KEPT_BYTES = 256 * 2**20  # encoded images kept from parquet files
READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # Pillow, for a broken PNG
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, eq=False)
class Dataset(torch_data.Dataset[tuple[Tensor, int]]):
    """Labelled inputs of one shape, read one at a time; made by `load`.

    Attributes:
        name: the spec that it was loaded from.
        split: `"train"` or `"test"`.
        classes: name of each class; a label is an index into it.
        shape: shape of every input.
    """

    name: str
    split: Split
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    _labels: npt.NDArray[np.int64] = field(repr=False)
    _read: Callable[[int], Tensor] = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes; every label is below it."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One input, float32 `[*shape]`, and its label.

        Raises:
            DataError: the input cannot be decoded, or has another shape than the first one.
            IndexError: there is no such input.
        """
        index = range(len(self))[index]
        x = self._read(index)
        if tuple(x.shape) != self.shape:
            raise DataError(
                f"{self.name}: input {index} has shape {tuple(x.shape)} but the first one has "
                f"{self.shape}: resize all images to one size first"
            )
        return x, int(self._labels[index])

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs `start` to `stop`, as a slice: float32 `[batch, *shape]`, int64 `[batch]`.

        Raises:
            DataError: an input cannot be decoded, or has another shape than the first one.
        """
        indices = range(len(self))[start:stop]
        x = torch.empty((len(indices), *self.shape))
        for row, index in enumerate(indices):
            x[row] = self[index][0]
        return x, torch.tensor(self._labels[start:stop])


def load(spec: str, split: Split = "test") -> Dataset:
    """Open a dataset by its spec.

    - `digits`: the handwritten digits of scikit-learn, 1 437 to train and 360 to test.
    - `parquet:PATH`: a file, or a directory of `train*.parquet` and `test*.parquet`, with an image
      and a label column as on the Hugging Face hub. To read more than fits in memory in shuffled
      order, prefer `hf:DIRECTORY`, which is mapped from disk.
    - `npz:PATH`: arrays `x, y`, `images, labels` or `x_train, y_train, x_test, y_test`; uint8
      images, or floats of any shape, which are taken as they are.
    - `folder:PATH`: images in a subfolder for each class, under `train` and `test` if present.
    - `hf:NAME`: a dataset of the hub, a directory of data files, or one made by `save_to_disk`.

    Args:
        spec: one of the forms above.
        split: the part to open. A source that does not name its parts serves for either.

    Raises:
        ConfigurationError: the spec has no known form, or the split is not `train` or `test`.
        DataError: the source is missing, damaged or empty, lacks the split or a column, or its
            labels are not class indices.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"unknown split {split!r}: use {' or '.join(SPLITS)}")
    form, _, source = spec.partition(":")
    if spec == "digits":
        return _digits(spec, split)
    if form not in _OPENERS or not source:
        raise ConfigurationError(f"unknown dataset {spec!r}: use one of {FORMS}")
    return _OPENERS[form](spec, source, split)


def _digits(spec: str, split: Split) -> Dataset:
    from sklearn.datasets import load_digits  # seconds to import, and rarely needed
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = (digits.images[:, None] / 16).astype(np.float32)
    train, test = train_test_split(
        np.arange(len(x)), test_size=360, stratify=digits.target, random_state=0
    )
    chosen = train if split == "train" else test
    names = [str(name) for name in digits.target_names]
    return _dataset(spec, split, digits.target[chosen], partial(_row, x[chosen]), names)


def _parquet(spec: str, source: str, split: Split) -> Dataset:
    path = _existing(spec, source)
    files = sorted(path.glob(f"{split}*.parquet")) if path.is_dir() else [path]
    if not files:
        found = ", ".join(sorted(file.name for file in path.glob("*.parquet"))) or "none"
        raise DataError(f"{spec}: no file {split}*.parquet; parquet files there: {found}")
    with _reading(spec):
        schema = pq.read_schema(files[0])
        image = _column(spec, schema.names, IMAGE_COLUMNS)
        label = _column(spec, schema.names, LABEL_COLUMNS)
        tables = [pq.read_table(file, columns=[label]) for file in files]
        y = pa.concat_tables(tables)[label].to_numpy()
        cells = _RowGroups(files, image)
    return _dataset(spec, split, y, _Images(spec, cells), _class_names(schema, label))


def _npz(spec: str, source: str, split: Split) -> Dataset:
    with _reading(spec):
        archive = np.load(_existing(spec, source), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{spec}: not an archive: save inputs and labels with numpy.savez")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    for x, y in ((f"x_{split}", f"y_{split}"), ("x", "y"), ("images", "labels")):
        if x in arrays and y in arrays:
            inputs = _inputs(spec, arrays[x], arrays[y])
            return _dataset(spec, split, arrays[y], partial(_row, inputs))
    raise DataError(
        f"{spec}: needs the arrays x and y, images and labels, or x_{split} and y_{split}; "
        f"found {', '.join(arrays) or 'none'}"
    )


def _folder(spec: str, source: str, split: Split) -> Dataset:
    root = _existing(spec, source)
    parts = [name for name in SPLITS if _subfolders(root / name)]
    if parts and split not in parts:
        raise DataError(f"{spec}: no split {split}; there is {parts[0]}")
    # The parts share their numbering, even where one of them lacks a class.
    roots = [root / name for name in parts] or [root]
    classes = sorted({name for folder in roots for name in _subfolders(folder)})
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = (root / split if parts else root) / name
        found = sorted(f for f in inside.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        files += found
        labels += [label] * len(found)
    images = _Images(spec, files.__getitem__)
    return _dataset(spec, split, np.array(labels, np.int64), images, classes)


def _hub(spec: str, source: str, split: Split) -> Dataset:
    import datasets  # seconds to import, and rarely needed

    try:
        rows = _hub_rows(source, split)
    except DataError:
        raise
    except Exception as error:  # errors of builders, hub and network have no common root
        raise DataError(f"{spec}, split {split}, cannot be loaded: {_line(error)}") from error
    image = _column(spec, rows.column_names, IMAGE_COLUMNS)
    label = _column(spec, rows.column_names, LABEL_COLUMNS)
    feature = rows.features[label]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    if not isinstance(rows.features[image], datasets.Image):
        raise DataError(f"{spec}: column {image} holds {rows.features[image]}, not images")
    y = rows.select_columns([label]).with_format("arrow")[:][label].to_numpy()
    images = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    return _dataset(spec, split, y, _Images(spec, partial(_hub_cell, images, image)), names)


def _hub_rows(source: str, split: Split) -> Any:
    import datasets

    path = Path(source).expanduser()
    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return datasets.load_dataset(str(path) if path.is_dir() else source, split=split)
    saved = datasets.load_from_disk(str(path))
    whole = isinstance(saved, datasets.Dataset)
    parts = {str(saved.split or split): saved} if whole else saved
    if split not in parts:
        raise DataError(f"hf:{source}: no split {split}; there is {', '.join(parts)}")
    return parts[split]


_OPENERS: dict[str, Callable[[str, str, Split], Dataset]] = {
    "parquet": _parquet,
    "npz": _npz,
    "folder": _folder,
    "hf": _hub,
}


def _row(x: npt.NDArray[Any], index: int) -> Tensor:
    """A copy of one input: uint8 scaled to [0, 1], float32 as it is."""
    row = torch.tensor(x[index])
    return row if row.is_floating_point() else row / 255


def _hub_cell(rows: Any, column: str, index: int) -> Any:
    return rows[index][column]


class _Images:
    """Encoded images, decoded when asked for; grey ones become RGB where the first one is."""

    def __init__(self, name: str, cells: Cells) -> None:
        self.name = name
        self.cells = cells

    @cached_property
    def rgb(self) -> bool:
        return _decode(self.cells(0), rgb=False).shape[0] == 3

    def __call__(self, index: int) -> Tensor:
        with _reading(f"{self.name}: image {index}"):
            return _decode(self.cells(index), self.rgb)


class _RowGroups:
    """One column of parquet files, read a row group at a time; the latest groups are kept."""

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self.column = column
        self.groups: list[tuple[Path, int]] = []
        sizes = [0]
        for file in files:
            metadata = pq.read_metadata(file)
            for group in range(metadata.num_row_groups):
                self.groups.append((file, group))
                sizes.append(metadata.row_group(group).num_rows)
        self.starts = list(accumulate(sizes))
        self.kept: OrderedDict[int, Any] = OrderedDict()

    def __call__(self, index: int) -> Any:
        number = bisect_right(self.starts, index) - 1
        if number not in self.kept:
            file, group = self.groups[number]
            with pq.ParquetFile(file) as opened:
                self.kept[number] = opened.read_row_group(group, [self.column])[self.column]
            while len(self.kept) > 1 and sum(g.nbytes for g in self.kept.values()) > KEPT_BYTES:
                self.kept.popitem(last=False)
        self.kept.move_to_end(number)
        return self.kept[number][index - self.starts[number]].as_py()


def _dataset(
    spec: str,
    split: Split,
    labels: npt.NDArray[Any],
    read: Callable[[int], Tensor],
    names: Sequence[str] | None = None,
) -> Dataset:
    """Check the labels, and look at the first input for the shape."""
    if labels.size == 0:
        raise DataError(f"{spec}: no inputs for the split {split}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{spec}: labels {labels.shape} of {labels.dtype} are not one integer each")
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        index = int(labels.argmin() if labels.min() < 0 else labels.argmax())
        raise DataError(f"{spec}: label {labels[index]} at index {index} is not a class index")
    classes = tuple(names or map(str, range(int(labels.max()) + 1)))
    if labels.max() >= len(classes):
        raise DataError(f"{spec}: label {labels.max()} but only {len(classes)} class names")
    shape = tuple(read(0).shape)
    return Dataset(spec, split, classes, shape, labels.astype(np.int64), read)


def _decode(cell: Any, rgb: bool) -> Tensor:
    """Encoded image -> float32 `[channels, height, width]` in [0, 1]; `rgb` forces 3 channels."""
    source = cell.get("bytes") or cell.get("path") if isinstance(cell, dict) else cell
    if not isinstance(source, bytes | str | Path):
        raise ValueError("it holds no encoded image")
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"its mode is {image.mode}: convert it to 8 bits a channel")
    pixels = np.array(image.convert("L" if image.mode in ("1", "L") and not rgb else "RGB"))
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32)) / 255


def _inputs(spec: str, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array of inputs -> uint8 `[n, channels, height, width]`, or finite float32 `[n, ...]`."""
    if x.ndim < 2 or x.shape[:1] != y.shape[:1]:
        raise DataError(f"{spec}: inputs {x.shape} and labels {y.shape} must have equal length")
    if x.dtype == np.uint8:
        if x.ndim == 3:
            return x[:, None]
        return np.moveaxis(x, -1, 1) if x.ndim == 4 and x.shape[-1] in (1, 3) else x
    if x.dtype.kind != "f":
        raise DataError(f"{spec}: inputs are {x.dtype}: store images as uint8, other data as float")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, found below
        x = x.astype(np.float32)
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        raise DataError(f"{spec}: input {int(finite.argmin())} has NaN or infinite values")
    return x


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Names of a Hugging Face `ClassLabel` column, from the file's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def _column(spec: str, found: Sequence[str], accepted: Sequence[str]) -> str:
    for name in accepted:
        if name in found:
            return name
    raise DataError(f"{spec}: no column {' or '.join(accepted)}; found {', '.join(found)}")


def _existing(spec: str, source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{spec}: nothing exists at {path}: check the path")
    return path


def _subfolders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return [child.name for child in path.iterdir() if child.is_dir() and child.name[0] != "."]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Give damaged data one error that names what was read."""
    try:
        yield
    except DataError:
        raise
    except READ_ERRORS as error:
        raise DataError(f"{what} cannot be read: {_line(error)}") from error
