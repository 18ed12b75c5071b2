import io
import json
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from ddrs import data
from ddrs.errors import ConfigurationError, DataError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8)  # [n, height, width, channels]
GREY = RNG.integers(0, 256, (9, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0, 1, 1, 2])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path,
    pixels: Any,
    labels: Any,
    columns: tuple[str, str] = ("image", "label"),
    names: list[str] | None = None,
    rows: int = 1000,
) -> Path:
    cells = [{"bytes": png(p) if isinstance(p, np.ndarray) else p, "path": None} for p in pixels]
    table = pa.table({columns[0]: cells, columns[1]: labels})
    if names is not None:
        features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
        meta = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": meta})
    pq.write_table(table, path, row_group_size=rows)
    return path


def write_folder(root: Path, pixels: np.ndarray, labels: Any, names: str = "abc") -> Path:
    for index, label in enumerate(labels):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        (root / names[label] / f"{index:03}.png").write_bytes(png(pixels[index]))
    return root


def assert_holds(d: data.Dataset, pixels: np.ndarray, labels: Any) -> None:
    """The dataset is these `[n, height, width, channels]` pixels, bit for bit over 255."""
    expected = torch.tensor(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2) / 255
    x, y = d.batch(0, len(d))
    assert x.dtype == torch.float32
    assert torch.equal(x, expected)
    assert y.tolist() == list(labels)
    assert y.dtype == torch.int64
    assert d.shape == tuple(expected.shape[1:])


def test_digits_are_those_of_scikit_learn_in_a_fixed_stratified_split() -> None:
    train, test = data.load("digits", "train"), data.load("digits")
    assert (len(train), len(test)) == (1437, 360)
    assert test.classes == tuple("0123456789")
    assert (train.num_classes, train.shape, train.split, test.split) == (
        10,
        (1, 8, 8),
        "train",
        "test",
    )
    digits = load_digits()
    x = torch.cat([train.batch(0, 2000)[0], test.batch(0, 2000)[0]])
    y = torch.cat([train.batch(0, 2000)[1], test.batch(0, 2000)[1]])
    rows = {
        (*image.ravel().astype(int), label)
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    assert {(*(16 * a).int().ravel().tolist(), int(b)) for a, b in zip(x, y, strict=True)} == rows
    share = np.bincount(digits.target) / len(digits.target)
    assert np.allclose(np.bincount(test.batch(0, 360)[1]), 360 * share, atol=1)
    assert torch.equal(data.load("digits").batch(0, 360)[0], test.batch(0, 360)[0])


@pytest.mark.parametrize("rows", [1000, 4, 1])
def test_parquet_gives_the_pixels_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(data, "KEPT_BYTES", 300)  # a row group or two
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, names=["x", "y", "z"], rows=rows)
    for split in ("train", "test"):
        d = data.load(f"parquet:{path}", split)
        assert_holds(d, COLOUR, LABELS)
        assert d.classes == ("x", "y", "z")
    for index in (8, 0, 5, -1, 3, 3, 0):
        x, y = d[index]
        assert torch.equal(x, torch.tensor(COLOUR[index]).permute(2, 0, 1) / 255)
        assert type(y) is int
        assert y == LABELS[index]
    assert [y for _, y in d] == LABELS.tolist()
    with pytest.raises(IndexError):
        d[9]


def test_parquet_keeps_only_what_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "KEPT_BYTES", 300)
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', COLOUR, LABELS, rows=1)}")
    d.batch(0, 9)
    cells: Any = d._read.cells
    assert 1 <= len(cells.kept) < 5
    assert sum(group.nbytes for group in cells.kept.values()) <= 300


def test_parquet_directory_joins_the_files_of_the_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-00001-of-00002.parquet", COLOUR[5:], LABELS[5:])
    write_parquet(tmp_path / "test-00000-of-00002.parquet", COLOUR[:5], LABELS[:5], rows=2)
    d = data.load(f"parquet:{tmp_path}", "test")
    assert_holds(d, COLOUR, LABELS)
    assert d.classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"no file train\*.parquet.*test-00000-of-00002.parquet"):
        data.load(f"parquet:{tmp_path}", "train")


@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "target"])
def test_parquet_accepts_the_usual_columns(tmp_path: Path, label: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", GREY, LABELS, ("img", label))
    assert_holds(data.load(f"parquet:{path}"), GREY, LABELS)


def test_parquet_accepts_bare_bytes_and_paths(tmp_path: Path) -> None:
    file = tmp_path / "0.png"
    file.write_bytes(png(COLOUR[0]))
    rows = {"image": [png(COLOUR[0]), png(COLOUR[1])], "label": [0, 1]}
    pq.write_table(pa.table(rows), tmp_path / "bare.parquet")
    assert_holds(data.load(f"parquet:{tmp_path}/bare.parquet"), COLOUR[:2], [0, 1])
    cells = [{"bytes": None, "path": str(file)}]
    pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "path.parquet")
    assert_holds(data.load(f"parquet:{tmp_path}/path.parquet"), COLOUR[:1], [0])


def test_grey_images_become_colour_where_the_first_is(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [COLOUR[0], GREY[1]], [0, 1])
    pixels = np.stack([COLOUR[0], np.repeat(GREY[1][..., None], 3, axis=2)])
    assert_holds(data.load(f"parquet:{path}"), pixels, [0, 1])
    path = write_parquet(tmp_path / "a.parquet", [GREY[0], COLOUR[1]], [0, 1])
    d = data.load(f"parquet:{path}")
    with pytest.raises(DataError, match=r"input 1 has shape \(3, 5, 4\).*\(1, 5, 4\)"):
        d[1]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (COLOUR[1][:4], r"input 1 has shape \(3, 4, 4\) .* \(3, 5, 4\): resize"),
        (b"no image", "image 1 cannot be read: cannot identify"),
        (png(COLOUR[1])[:60], "image 1 cannot be read"),
        (None, "image 1 cannot be read: it holds no encoded image"),
        (GREY[1].astype(np.uint16) * 256, "image 1 cannot be read: its mode is I;16"),
    ],
)
def test_a_bad_image_is_named_and_the_others_are_still_read(
    tmp_path: Path, pixels: Any, message: str
) -> None:
    cells = [COLOUR[0], pixels, COLOUR[2]]
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', cells, [0, 1, 2])}")
    with pytest.raises(DataError, match=message):
        d[1]
    with pytest.raises(DataError, match=message):
        d.batch(0, 3)
    assert torch.equal(d[2][0], torch.tensor(COLOUR[2]).permute(2, 0, 1) / 255)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        data.load(f"parquet:{path}")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        data.load(f"parquet:{path}")
    path.write_bytes(whole)
    assert_holds(data.load(f"parquet:{path}"), COLOUR, LABELS)


def test_parquet_with_a_damaged_row_group(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    chunk = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    for position in range(chunk.data_page_offset, chunk.data_page_offset + 40):
        content[position] ^= 255
    path.write_bytes(bytes(content))
    d = data.load(f"parquet:{path}")
    with pytest.raises(DataError, match="image 7 cannot be read"):
        d[7]
    assert torch.equal(d[5][0], torch.tensor(COLOUR[5]).permute(2, 0, 1) / 255)


def test_a_parquet_file_that_goes_away_later(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, rows=3)
    d = data.load(f"parquet:{path}")
    path.rename(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="image 8 cannot be read"):
        d[8]
    (tmp_path / "b.parquet").rename(path)
    assert_holds(d, COLOUR, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no inputs for the split test"),
        ([0, -1], "label -1 at index 1 is not a class index"),
        ([0, 10**12], "label 1000000000000 at index 1 is not a class index"),
        ([0.0, 1.0], "float64 are not one integer each"),
        ([0, None], "not one integer each"),
        (["cat", "dog"], "not one integer each"),
    ],
)
def test_labels_that_are_no_class_indices(tmp_path: Path, labels: list, message: str) -> None:
    schema = pa.schema([("image", pa.binary()), ("label", pa.array(labels or [0]).type)])
    rows = {"image": [png(p) for p in COLOUR[: len(labels)]], "label": labels}
    pq.write_table(pa.table(rows, schema=schema), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        data.load(f"parquet:{tmp_path}/a.parquet")


def test_parquet_says_what_it_found(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, ("picture", "label"))
    with pytest.raises(DataError, match="no column image or img; found picture, label"):
        data.load(f"parquet:{path}")
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, ("image", "kind"))
    with pytest.raises(DataError, match=r"no column label or labels.*; found image, kind"):
        data.load(f"parquet:{path}")
    path = write_parquet(tmp_path / "a.parquet", COLOUR, LABELS, names=["x", "y"])
    with pytest.raises(DataError, match="label 2 but only 2 class names"):
        data.load(f"parquet:{path}")


@pytest.mark.parametrize("pixels", [COLOUR, GREY, COLOUR[..., :1]])
@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("x_test", "y_test")])
def test_npz_images(tmp_path: Path, pixels: np.ndarray, keys: tuple[str, str]) -> None:
    np.savez(tmp_path / "a.npz", **{keys[0]: pixels, keys[1]: LABELS})
    assert_holds(data.load(f"npz:{tmp_path}/a.npz"), pixels, LABELS)


def test_npz_channels_may_come_first_and_splits_are_kept_apart(tmp_path: Path) -> None:
    first = COLOUR.transpose(0, 3, 1, 2)
    arrays = {
        "x_train": first[:6],
        "y_train": LABELS[:6],
        "x_test": first[6:],
        "y_test": LABELS[6:],
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert_holds(data.load(f"npz:{tmp_path}/a.npz", "train"), COLOUR[:6], LABELS[:6])
    assert_holds(data.load(f"npz:{tmp_path}/a.npz", "test"), COLOUR[6:], LABELS[6:])


def test_npz_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(9, 13)) * 100
    np.savez(tmp_path / "a.npz", x=x, y=LABELS.astype(np.uint8))
    d = data.load(f"npz:{tmp_path}/a.npz")
    assert d.shape == (13,)
    assert torch.equal(d.batch(2, 7)[0], torch.tensor(x[2:7], dtype=torch.float32))
    d[0][0].zero_()  # what is handed out is a copy
    assert torch.equal(d[0][0], torch.tensor(x[0], dtype=torch.float32))


X = np.zeros((9, 2), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "needs the arrays x and y.*found x"),
        ({"x_train": X, "y_train": LABELS}, "x_test and y_test; found x_train, y_train"),
        ({"x": X, "y": LABELS[:8]}, r"inputs \(9, 2\) and labels \(8,\) must have equal length"),
        ({"x": X[:, 0], "y": LABELS}, "must have equal length"),
        ({"x": X, "y": LABELS[:, None]}, r"labels \(9, 1\) of int64 are not one integer each"),
        ({"x": X.astype(int), "y": LABELS}, "inputs are int64: store images as uint8"),
        ({"x": X[:0], "y": LABELS[:0]}, "no inputs for the split test"),
        ({"x": np.where(np.arange(9) == 4, np.nan, X.T).T, "y": LABELS}, "input 4 has NaN"),
        ({"x": X + 1e300 * np.eye(9, 2, -5), "y": LABELS}, "input 5 has NaN or inf"),
        ({"x": np.array([{}] * 9), "y": LABELS}, "cannot be read: Object arrays"),
    ],
)
def test_npz_that_is_no_dataset(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        data.load(f"npz:{tmp_path}/a.npz")


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=COLOUR, y=LABELS)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[150] ^= 255
    for damaged in (whole[:-40], whole[:100], b"", b"text", bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.npz cannot be read"):
            data.load(f"npz:{path}")
    np.save(tmp_path / "b.npy", COLOUR)
    with pytest.raises(DataError, match="not an archive"):
        data.load(f"npz:{tmp_path}/b.npy")


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


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    image = Image.fromarray(COLOUR[0])
    exif = image.getexif()
    exif[0x0112] = 6  # turn a quarter to the right to view
    image.save(tmp_path / "a" / "0.png", exif=exif)
    assert_holds(data.load(f"folder:{tmp_path}"), np.rot90(COLOUR[0], -1)[None].copy(), [0])


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
    with pytest.raises(DataError, match=r"split test, cannot be loaded: .*train"):
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


@pytest.mark.parametrize("form", ["parquet", "npz", "folder"])
def test_a_missing_path_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=r"nothing exists at .*absent"):
        data.load(f"{form}:{tmp_path}/absent")


@pytest.mark.parametrize("spec", ["cifar10", "digits:", "csv:a", "npz:", "", "parquet"])
def test_an_unknown_spec_gets_the_known_ones(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="digits, parquet:PATH, npz:PATH, folder:PATH, hf"):
        data.load(spec)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown split 'val': use train or test"):
        data.load("digits", "val")


def test_batches_are_slices_and_loaders_work(tmp_path: Path) -> None:
    d = data.load(f"parquet:{write_parquet(tmp_path / 'a.parquet', COLOUR, LABELS)}")
    assert d.batch(7, 100)[0].shape == (2, 3, 5, 4)
    assert d.batch(9, 12)[0].shape == (0, 3, 5, 4)
    x, y = next(iter(DataLoader(d, batch_size=9)))
    assert torch.equal(x, d.batch(0, 9)[0])
    assert torch.equal(y, d.batch(0, 9)[1])
    assert_holds(pickle.loads(pickle.dumps(d)), COLOUR, LABELS)  # as worker processes get it
