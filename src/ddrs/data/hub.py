"""Datasets of the Hugging Face hub, or saved as it saves them."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ddrs.data.dataset import Dataset, checked
from ddrs.data.images import Images
from ddrs.data.reading import IMAGE_COLUMNS, LABEL_COLUMNS, find_column, home_of
from ddrs.data.split import Split
from ddrs.errors import DataError, one_line
from ddrs.files import check_file
from ddrs.online import hub

__all__ = [
    "open_hub",
]


def open_hub(spec: str, source: str, split: Split) -> Dataset:
    """What `datasets` loads by this name, or from this directory."""
    import datasets  # seconds to import, and rarely needed

    try:
        rows = _hub_rows(source, split)
    except DataError:
        raise
    except Exception as error:  # errors of builders, hub and network have no common root
        reason = one_line(error) or type(error).__name__
        raise DataError(f"{spec}, split {split}, cannot be loaded: {reason}") from error
    image = find_column(spec, rows.column_names, IMAGE_COLUMNS)
    label = find_column(spec, rows.column_names, LABEL_COLUMNS)
    feature = rows.features[label]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    if not isinstance(rows.features[image], datasets.Image):
        raise DataError(f"{spec}: column {image} holds {rows.features[image]}, not images")
    y = rows.select_columns([label]).with_format("arrow")[:][label].to_numpy()
    images = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    cells = partial(_hub_cell, images, image)
    return checked(spec, split, y, Images(spec, cells, _homes(source)), names)


def _hub_rows(source: str, split: Split) -> Any:
    import datasets

    path = Path(source).expanduser()
    if path.is_dir():
        for file in path.rglob("*"):
            check_file(file)
    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        # Versions that can run code that comes with a dataset would ask whether to.
        early = int(datasets.__version__.partition(".")[0]) < 4
        options = {"trust_remote_code": False} if early else {}
        named = str(path) if path.is_dir() else source
        with nullcontext() if path.is_dir() else hub(f"hf:{source}", DataError):
            return datasets.load_dataset(named, split=split, **options)
    saved = datasets.load_from_disk(str(path))
    whole = isinstance(saved, datasets.Dataset)
    parts = {str(saved.split or split): saved} if whole else saved
    if split not in parts:
        raise DataError(f"hf:{source}: no split {split}; there is {', '.join(parts)}")
    return parts[split]


def _homes(source: str) -> list[Path]:
    """Where the files may lie that a cell names: a directory of the user's, or the cache."""
    import datasets
    from huggingface_hub import constants

    path = Path(source).expanduser()
    if path.is_dir():
        return [home_of(path)]
    return [Path(datasets.config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE)]


def _hub_cell(rows: Any, column: str, index: int) -> Any:
    return rows[index][column]
