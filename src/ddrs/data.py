"""Datasets by name: one map-style view of labelled inputs, whatever holds them.

Images become float32 `[channels, height, width]` in [0, 1], the space that sigma and radii are
meant in. They are decoded one at a time, when asked for. All inputs of a dataset have one shape.
"""

import json
import zipfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
Reader = Callable[[int], Tensor]
FORMS = "digits, parquet:PATH, npz:PATH, folder:PATH, hf:NAME"
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
IMAGE_SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
KEPT_BYTES = 256 * 2**20  # encoded images kept from parquet files


@dataclass(frozen=True, eq=False)
class Dataset(torch_data.Dataset[tuple[Tensor, int]]):
    """Labelled inputs of one shape, read one at a time; `load` makes it.

    Attributes:
        name: the spec that it was loaded from.
        split: `"train"` or `"test"`.
        classes: name of each class; the label is its index.
        shape: shape of every input.
    """

    name: str
    split: Split
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    _labels: npt.NDArray[np.int64] = field(repr=False)
    _read: Reader = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes; every label is below it."""
        return len(self.classes)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One input, float32 `shape`, and its label.

        Raises:
            DataError: the input cannot be decoded, or has another shape than the first one.
            IndexError: there is no such input.
        """
        index = range(len(self))[index]
        x = self._read(index)
        if x.shape != self.shape:
            raise DataError(
                f"{self.name}: input {index} has shape {tuple(x.shape)}, the first has "
                f"{self.shape}: resize all images to one size first"
            )
        return x, int(self._labels[index])

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs `start` to `stop` (exclusive, cut at the end): `[batch, *shape]`, int64 `[batch]`.

        Raises:
            DataError: an input cannot be decoded, or has another shape than the first one.
        """
        indices = range(len(self))[start:stop]
        x = torch.empty((len(indices), *self.shape))
        for row, index in enumerate(indices):
            x[row] = self[index][0]
        return x, torch.tensor(self._labels[start:stop])


def load(spec: str, split: Split = "test") -> Dataset:
    """Open a dataset.

    Args:
        spec: one of
            `digits`: the handwritten digits of scikit-learn, 1 437 to train and 360 to test;
            `parquet:PATH`: a file, or a directory of `train*.parquet` and `test*.parquet`, with an
            image and a label column as on the Hugging Face hub (for shuffled reading of more than
            fits in memory prefer `hf:DIRECTORY`, which is mapped from disk);
            `npz:PATH`: arrays `x, y`, `images, labels` or `x_train, y_train, x_test, y_test`:
            uint8 images, or floats of any shape that are taken as they are;
            `folder:PATH`: images in one subfolder a class, below `train` and `test` if present;
            `hf:NAME`: a dataset of the hub, of a directory, or saved by `save_to_disk`.
        split: the part to open; a single file is used for whichever part is asked for.

    Raises:
        ConfigurationError: the spec has no known form, or the split is not `train` or `test`.
        DataError: nothing is there, it cannot be read, it has no rows, or its columns or labels are
            not those of a classification dataset.
    """
    form, _, source = spec.partition(":")
    if split not in get_args(Split):
        raise ConfigurationError(f"unknown split {split!r}: use train or test")
    if spec == "digits":
        return _digits(spec, split)
    if form not in _OPENERS or not source:
        raise ConfigurationError(f"unknown dataset {spec!r}: use one of {FORMS}")
    return _OPENERS[form](spec, source, split)


def _digits(spec: str, split: Split) -> Dataset:
    from sklearn.datasets import load_digits  # slow to import, and rarely needed
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    parts = train_test_split(
        images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    x, y = parts[split == "test"], parts[2 + (split == "test")]
    return _dataset(spec, split, y, _Rows(x), [str(name) for name in digits.target_names])


def _parquet(spec: str, source: str, split: Split) -> Dataset:
    path = Path(source).expanduser()
    files = sorted(path.glob(f"{split}*.parquet")) if path.is_dir() else [path]
    if not files:
        found = ", ".join(sorted(file.name for file in path.glob("*.parquet"))) or "none"
        raise DataError(f"{spec}: no {split}*.parquet in the directory; parquet files: {found}")
    try:
        schema = pq.read_schema(files[0])
        image = _column(spec, schema.names, IMAGE_COLUMNS)
        label = _column(spec, schema.names, LABEL_COLUMNS)
        labels = pa.concat_tables(pq.read_table(file, columns=[label]) for file in files)
        cells = _RowGroups(files, image)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{spec}: cannot be read as parquet: {_line(error)}") from error
    y = labels.column(label).to_numpy()
    return _dataset(spec, split, y, _Images(spec, cells), _class_names(schema, label))


def _npz(spec: str, source: str, split: Split) -> Dataset:
    try:
        with np.load(Path(source).expanduser(), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{spec}: cannot be read as npz: {_line(error)}") from error
    pairs = (f"x_{split}", f"y_{split}"), ("x", "y"), ("images", "labels")
    for x, y in pairs:
        if x in arrays and y in arrays:
            others = (value.max() for key, value in arrays.items() if key in ("y_train", "y_test") and value.size)
            return _dataset(spec, split, arrays[y], _Rows(_inputs(spec, arrays[x])))
    raise DataError(
        f"{spec}: needs the arrays x and y, images and labels, or x_{split} and y_{split}; "
        f"found {', '.join(arrays) or 'none'}"
    )
