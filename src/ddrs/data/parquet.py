"""Images in parquet files, read a row group at a time."""

import json
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ddrs.data.dataset import Dataset, checked
from ddrs.data.images import Images
from ddrs.data.labels import read_labels
from ddrs.data.preparation import Preparation
from ddrs.data.reading import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    existing,
    find_column,
    home_of,
    inside,
    reading,
)
from ddrs.data.split import Split, choose_split, split_of
from ddrs.errors import DataError
from ddrs.files import check_file, read_parquet

__all__ = [
    "open_parquet",
]

KEPT_BYTES = 256 * 2**20  # encoded images kept from parquet files


def open_parquet(spec: str, source: str, split: Split, preparation: Preparation) -> Dataset:
    """A parquet file, or a directory of one or more files per split; a cell holds its image."""
    path = existing(spec, source)
    parts = _parts(path) if path.is_dir() else {split: [path]}
    if split not in parts and not (split == "test" and "validation" in parts):
        found = ", ".join(sorted(file.name for file in path.glob("*.parquet"))) or "none"
        raise DataError(f"{spec}: no file {split}*.parquet; parquet files there: {found}")
    chosen = choose_split(spec, split, parts)
    with reading(spec):
        if path.is_dir():
            home = home_of(path)
            parts = {of: [inside(spec, home, file) for file in parts[of]] for of in parts}
        for file in (file for files in parts.values() for file in files):
            check_file(file)
        files = parts[chosen]
        schema = pq.read_schema(files[0])
        image = find_column(spec, schema.names, IMAGE_COLUMNS)
        label = find_column(spec, schema.names, LABEL_COLUMNS)
        names = _class_names(schema, label)
        y = _column(files, label)
        rest = [] if names else [_column(parts[of], label) for of in parts if of != chosen]
        cells = _RowGroups(files, image)
    images = Images(spec, cells, preparation=preparation)
    labels = read_labels(spec, y, rest, names)
    return checked(spec, chosen, labels, images, images.file_name)


def _parts(folder: Path) -> dict[Split, list[Path]]:
    """The files of each split, by the word that their names begin with."""
    parts: dict[Split, list[Path]] = {}
    for file in sorted(folder.glob("*.parquet")):
        word = re.match("[a-z]*", file.name.lower())
        part = split_of(word[0]) if word else None
        if part is not None:
            parts.setdefault(part, []).append(file)
    return parts


def _column(files: Sequence[Path], name: str) -> npt.NDArray[Any]:
    column = pa.concat_tables([read_parquet(file, [name]) for file in files])[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values: npt.NDArray[Any] = column.to_numpy()
    return values


# `datasets` reads parquet too (`hf:DIRECTORY`), but takes seconds to import, and first copies all
# files into a cache; this reads only what is asked for.
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


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Names of a Hugging Face `ClassLabel` column, from the file's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return None
