from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs import data
from ddrs.errors import DataError
from support.pictures import COLOUR, LABELS, assert_holds, png


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def hub_rows(pixels: np.ndarray, labels: Any) -> datasets.Dataset:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y", "z"])}
    )
    rows = {"image": [{"bytes": png(p), "path": None} for p in pixels], "label": list(labels)}
    return datasets.Dataset.from_dict(rows, features=features)


def test_hub_datasets_saved_to_disk(tmp_path: Path) -> None:
    parts = {"train": hub_rows(COLOUR[:5], LABELS[:5]), "test": hub_rows(COLOUR[5:], LABELS[5:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    d = data.load(f"hf:{tmp_path}/both")
    assert_holds(d, COLOUR[5:], LABELS[5:])
    assert d.classes == ("x", "y", "z")
    assert_holds(data.load(f"hf:{tmp_path}/both", "train"), COLOUR[:5], LABELS[:5])

    hub_rows(COLOUR, LABELS).save_to_disk(tmp_path / "one")
    assert_holds(data.load(f"hf:{tmp_path}/one"), COLOUR, LABELS)
    datasets.DatasetDict({"train": parts["train"]}).save_to_disk(tmp_path / "train only")
    with pytest.raises(DataError, match="no split test; there is train"):
        data.load(f"hf:{tmp_path}/train only")


def test_hub_dataset_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    hub_rows(COLOUR, LABELS).to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    assert_holds(data.load(f"hf:{tmp_path}/set", "train"), COLOUR, LABELS)
    with pytest.raises(
        DataError, match="no split test; there is train: ask for it with --split train"
    ):
        data.load(f"hf:{tmp_path}/set")


def test_hub_dataset_that_does_not_fit(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match="no column image or img; found text, label"):
        data.load(f"hf:{tmp_path}/text")
    datasets.Dataset.from_dict({"image": ["a"], "label": [0]}).save_to_disk(tmp_path / "string")
    with pytest.raises(DataError, match=r"column image holds Value.*not images"):
        data.load(f"hf:{tmp_path}/string")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        data.load(f"hf:{tmp_path}/nothing")


def test_a_cell_may_name_a_file_in_the_dataset_and_none_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for file in (root / "0.png", tmp_path / "mine.png"):
        file.write_bytes(png(COLOUR[0]))
    for name in ("0.png", "../mine.png"):
        cells = [{"bytes": None, "path": f"{root}/{name}"}]
        pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "t.parquet")
        rows = datasets.Dataset.from_parquet(str(tmp_path / "t.parquet"))
        rows.cast_column("image", datasets.Image(decode=False)).to_parquet(root / "test.parquet")
        if name == "0.png":
            assert_holds(data.load(f"hf:{root}"), COLOUR[:1], LABELS[:1] * 0)
        else:
            with pytest.raises(DataError, match="it names a file elsewhere"):
                data.load(f"hf:{root}")
