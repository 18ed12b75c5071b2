"""Datasets of the Hugging Face hub, or saved as it saves them."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ddrs.data.dataset import Dataset, checked
from ddrs.data.images import Images
from ddrs.data.labels import read_labels
from ddrs.data.preparation import Preparation
from ddrs.data.reading import IMAGE_COLUMNS, LABEL_COLUMNS, find_column, home_of
from ddrs.data.split import Split, choose_split, split_of
from ddrs.errors import DataError, one_line
from ddrs.files import check_file
from ddrs.online import hub

__all__ = [
    "open_hub",
]


def open_hub(spec: str, source: str, split: Split, preparation: Preparation) -> Dataset:
    """What `datasets` loads by this name, or from this directory."""
    import datasets  # seconds to import, and rarely needed

    try:
        parts = _hub_parts(source, split)
    except Exception as error:  # errors of builders, hub and network have no common root
        reason = one_line(error) or type(error).__name__
        raise DataError(f"{spec}, split {split}, cannot be loaded: {reason}") from error
    chosen = choose_split(spec, split, [part for name in parts if (part := split_of(name))])
    rows = next(rows for name, rows in parts.items() if split_of(name) == chosen)
    image = find_column(spec, rows.column_names, IMAGE_COLUMNS)
    label = find_column(spec, rows.column_names, LABEL_COLUMNS)
    feature = rows.features[label]
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    if not isinstance(rows.features[image], datasets.Image):
        raise DataError(f"{spec}: column {image} holds {rows.features[image]}, not images")
    others = [each for each in parts.values() if label in each.column_names and names is None]
    labels = read_labels(
        spec, _column(rows, label), [_column(each, label) for each in others], names
    )
    cells = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    images = Images(spec, partial(_hub_cell, cells, image), _homes(source), preparation)
    return checked(spec, chosen, labels, images, images.file_name)


def _column(rows: Any, name: str) -> Any:
    return rows.select_columns([name]).with_format("arrow")[:][name].to_numpy()


def _hub_parts(source: str, split: Split) -> dict[str, Any]:
    """The parts of a dataset by their names; one that names none serves for any."""
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
            return dict(datasets.load_dataset(named, **options))
    saved = datasets.load_from_disk(str(path))
    if isinstance(saved, datasets.Dataset):
        part = split_of(str(saved.split))
        return {part or split: saved}
    return dict(saved)


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
