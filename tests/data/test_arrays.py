from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ddrs import data
from ddrs.errors import DataError
from support.pictures import COLOUR, GREY, LABELS, assert_holds


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
        (
            {"x_train": X, "y_train": LABELS},
            "no split test; there is train: ask for it with --split train",
        ),
        ({"x": X, "y": LABELS[:8]}, r"inputs \(9, 2\) and labels \(8,\) must have equal length"),
        ({"x": X[:, 0], "y": LABELS}, "must have equal length"),
        ({"x": X, "y": np.eye(9, 3, dtype=int)}, r"labels \(9, 3\) .* store labels.argmax\(axis=1"),
        ({"x": X, "y": LABELS - 1}, "label -1 at index 0 is not a class index: leave out the"),
        ({"x": X.astype(np.uint16), "y": LABELS}, "nothing says which value is white: divide by"),
        ({"x": np.zeros((9, 5, 6, 4), np.uint8), "y": LABELS}, "an alpha channel: store three"),
        ({"x": X, "y": np.array(["a", None] * 4 + ["b"])}, r"np.array\(labels, dtype=str\)"),
        ({"x": X.astype(int), "y": LABELS}, "inputs are int64: store images as uint8"),
        ({"x": X[:0], "y": LABELS[:0]}, "no inputs for the split test"),
        ({"x": np.where(np.arange(9) == 4, np.nan, X.T).T, "y": LABELS}, "input 4 has NaN"),
        ({"x": X + 1e300 * np.eye(9, 2, -5), "y": LABELS}, "input 5 has NaN or inf"),
        (
            {"x": np.array([{}] * 9), "y": LABELS},
            "cannot be read: x holds pickled objects, which could run code",
        ),
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
