import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from ddrs import data
from ddrs.data.dataset import checked
from ddrs.data.labels import read_labels
from ddrs.errors import DataError
from support.pictures import COLOUR, LABELS, assert_holds, png, write_parquet


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no inputs for the split test"),
        ([0, -1], "label -1 at index 1 is not a class index: leave out the inputs"),
        ([0, 10**12], "label 1000000000000 at index 1 is not a class index"),
        ([0.0, 1.0], "float64 are not one integer each"),
        ([0, None], "not one integer each"),
        (["cat", None], "not one integer each: every input needs one, an integer or a text"),
    ],
)
def test_labels_that_are_no_class_indices(tmp_path: Path, labels: list, message: str) -> None:
    schema = pa.schema([("image", pa.binary()), ("label", pa.array(labels or [0]).type)])
    rows = {"image": [png(p) for p in COLOUR[: len(labels)]], "label": labels}
    pq.write_table(pa.table(rows, schema=schema), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        data.load(f"parquet:{tmp_path}/a.parquet")


def test_batches_are_slices_and_loaders_work(tmp_path: Path) -> None:
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', COLOUR, LABELS)}")
    assert d.batch(7, 100)[0].shape == (2, 3, 5, 4)
    assert d.batch(9, 12)[0].shape == (0, 3, 5, 4)
    x, y = next(iter(DataLoader(d, batch_size=9)))
    assert torch.equal(x, d.batch(0, 9)[0])
    assert torch.equal(y, d.batch(0, 9)[1])
    assert_holds(pickle.loads(pickle.dumps(d)), COLOUR, LABELS)  # as worker processes get it


def test_a_digest_tells_labels_and_inputs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    y = np.arange(6) % 3

    def digest(x: np.ndarray, y: np.ndarray, inputs: int = 6) -> str:
        labels = read_labels("d", y)
        return checked("d", "test", labels, lambda index: torch.from_numpy(x[index])).digest(inputs)

    def changed(values: np.ndarray, index: int) -> np.ndarray:
        return np.concatenate(
            [values[:index], (values[index : index + 1] + 1) % 3, values[index + 1 :]]
        )

    assert digest(x, y) == digest(x.copy(), y.astype(np.int32))
    for index in range(6):
        assert digest(changed(x, index), y) != digest(x, y)
        assert digest(x, changed(y, index)) != digest(x, y)
    assert digest(changed(x, 5), changed(y, 5), 5) == digest(x, y, 5) != digest(x, y, 6)
    monkeypatch.setattr("ddrs.data.dataset.DIGEST_VALUES", 12)  # three inputs of four values
    told = [digest(changed(x, index), y) != digest(x, y) for index in range(6)]
    assert told == [True, False, True, False, True, False]
    assert all(digest(x, changed(y, index)) != digest(x, y) for index in range(6))
