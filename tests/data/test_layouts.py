"""A table of layouts: which parts, classes and labels each has, or the line that says how."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from ddrs import data
from ddrs.errors import DataError, DDRSWarning
from support.pictures import COLOUR, GREY, LABELS, assert_holds, png, write_parquet


def tree(root: Path, *names: str) -> Path:
    """Files that are images, each of the next picture."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(COLOUR[number]))
    return root


def labels(dataset: data.Dataset) -> list[int | None]:
    return [dataset[index][1] for index in range(len(dataset))]


def test_parts_without_classes_are_no_classes(tmp_path: Path) -> None:
    tree(tmp_path, "train/0.png", "train/1.png", "test/0.png")
    with pytest.raises(DataError, match=r"test and train are parts .* without labels as folder:"):
        data.load(f"folder:{tmp_path}")
    found = data.load(f"folder:{tmp_path}/train")
    assert (labels(found), found.classes, found.labelled) == ([None, None], (), False)
    assert [found.file_name(k) for k in (0, 1)] == ["0.png", "1.png"]
    (tmp_path / "val").mkdir()
    tree(tmp_path, "val/a/0.png")
    with pytest.raises(DataError, match="test holds no folder for each class: certify its images"):
        data.load(f"folder:{tmp_path}")


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    tree(tmp_path, "test/0.png", "car/1.png")
    assert data.load(f"folder:{tmp_path}").classes == ("car", "test")


@pytest.mark.parametrize("name", ["val", "valid", "validation", "VAL"])
@pytest.mark.filterwarnings("ignore::ddrs.errors.DDRSWarning")
def test_validation_serves_for_a_test_that_is_not_there(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "train/a/0.png", "train/b/0.png", "train/c/0.png", f"{name}/b/0.png")
    with pytest.warns(DDRSWarning, match="has no split test: validation is taken"):
        test = data.load(f"folder:{tmp_path}")
    for found in (
        test,
        data.load(f"folder:{tmp_path}", "validation"),
        data.load(f"folder:{tmp_path}/{name}"),
    ):
        assert_holds(found, COLOUR[3:4], [1])
        assert (found.classes, found.named) == (("a", "b", "c"), True)
    assert test.split == "validation"
    tree(tmp_path, "test/c/0.png")
    assert labels(data.load(f"folder:{tmp_path}")) == [2]
    assert labels(data.load(f"folder:{tmp_path}", "train")) == [0, 1, 2]


def test_one_part_alone(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/0.png", "train/b/0.png")
    with pytest.raises(DataError, match="there is train: ask for it with --split train"):
        data.load(f"folder:{tmp_path}")
    assert labels(data.load(f"folder:{tmp_path}", "train")) == [0, 1]
    assert labels(data.load(f"folder:{tmp_path}/train")) == [0, 1]
    tree(tmp_path / "other", "test/a/0.png")
    with pytest.raises(DataError, match=r"no split train; there is test$"):
        data.load(f"folder:{tmp_path}/other", "train")


def test_a_part_beside_another_data_set_has_its_own_classes(tmp_path: Path) -> None:
    tree(tmp_path, "train/x/0.png", "test/a/0.png", "val/a/0.png", "val/b/0.png")
    assert data.load(f"folder:{tmp_path}/test").classes == ("a", "b")


def test_two_names_of_one_part_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "val/a/0.png", "validation/a/0.png")
    with pytest.raises(DataError, match="val and validation are both the split validation"):
        data.load(f"folder:{tmp_path}", "validation")
    assert labels(data.load(f"folder:{tmp_path}/val")) == [0]


def test_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    tree(tmp_path / "n", "10/0.png", "2/0.png", "0/0.png")
    assert data.load(f"folder:{tmp_path}/n").classes == ("0", "2", "10")
    tree(tmp_path / "m", "10/0.png", "2/0.png", "x/0.png")
    assert data.load(f"folder:{tmp_path}/m").classes == ("10", "2", "x")


def test_the_validation_folder_of_imagenet(tmp_path: Path) -> None:
    synsets = [f"n{number:08}" for number in range(1_440_764, 1_441_764)]
    for name in synsets:
        (tmp_path / "val" / name).mkdir(parents=True)
    tree(tmp_path, f"val/{synsets[7]}/ILSVRC2012_val_00000293.JPEG", f"val/{synsets[999]}/1.JPEG")
    for spec in (f"folder:{tmp_path}/val", f"folder:{tmp_path}"):
        found = data.load(spec, "validation")
        assert (found.classes, labels(found)) == (tuple(synsets), [7, 999])


def test_what_is_passed_over_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "a/0.png", "a/._0.png", ".hidden/0.png", "__MACOSX/0.png")
    (tmp_path / "a" / "1.heic").write_bytes(b"?")
    (tmp_path / "b.png").write_bytes(b"?")
    with pytest.warns(DDRSWarning, match=r": 2 files are no images .* the first of them a/1.heic"):
        found = data.load(f"folder:{tmp_path}")
    assert (found.classes, len(found)) == (("a",), 1)


def test_one_image(tmp_path: Path) -> None:
    tree(tmp_path, "cat.png")
    found = data.load(f"image:{tmp_path}/cat.png")
    assert (labels(found), found.file_name(0), found.num_classes) == ([None], "cat.png", 0)
    with pytest.raises(DataError, match="is a directory: name it folder:"):
        data.load(f"image:{tmp_path}")
    with pytest.raises(DataError, match="is a file: one image alone is image:PATH"):
        data.load(f"folder:{tmp_path}/cat.png")


TEXTS = np.array(["dog", "cat", "dog", "ant", "cat", "dog", "dog", "cat", "dog"])
NUMBERS = [2, 1, 2, 0, 1, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("given", "expected", "classes", "named"),
    [
        (TEXTS, NUMBERS, ("ant", "cat", "dog"), True),
        (LABELS[:, None], LABELS, ("0", "1", "2"), False),
        (LABELS == 1, LABELS == 1, ("0", "1"), False),
        (LABELS.astype(np.uint16) + 7, LABELS + 7, tuple(map(str, range(10))), False),
        (np.full(9, -1), [None] * 9, (), False),
        (LABELS.astype(str), LABELS, ("0", "1", "2"), True),
        (np.array(["10", "9"] * 4 + ["10"]), [1, 0] * 4 + [1], ("9", "10"), True),
    ],
)
def test_labels_of_arrays_and_tables(
    tmp_path: Path, given: np.ndarray, expected: Any, classes: tuple[str, ...], named: bool
) -> None:
    np.savez(tmp_path / "a.npz", x=GREY, y=given)
    found = [data.load(f"npz:{tmp_path}/a.npz")]
    if given.ndim == 1 and given.dtype != bool:
        write_parquet(tmp_path / "a.parquet", GREY, given)
        found.append(data.load(f"parquet:{tmp_path}/a.parquet"))
    for dataset in found:
        assert labels(dataset) == list(expected)
        assert (dataset.classes, dataset.named) == (classes, named)


@pytest.mark.filterwarnings("ignore::ddrs.errors.DDRSWarning")
def test_parts_of_arrays_and_tables_have_the_classes_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    parts = {"train": (GREY[:6], TEXTS[:6]), "val": (GREY[6:8], TEXTS[6:8])}
    arrays = {f"{k}_{part}": v for part, xy in parts.items() for k, v in zip("xy", xy, strict=True)}
    np.savez(tmp_path / "a.npz", **arrays)
    (tmp_path / "set").mkdir()
    cells = {
        part: datasets.Dataset.from_dict(
            {"image": [{"bytes": png(p), "path": f"{part}.png"} for p in x], "label": y},
            features=datasets.Features(
                {"image": datasets.Image(), "label": datasets.Value("string")}
            ),
        )
        for part, (x, y) in parts.items()
    }
    cells["train"].to_parquet(tmp_path / "set" / "train-0.parquet")
    cells["val"].to_parquet(tmp_path / "set" / "validation-0.parquet")
    datasets.DatasetDict(cells).save_to_disk(tmp_path / "saved")
    for spec in ("npz:a.npz", "parquet:set", "hf:set", "hf:saved"):
        form, _, name = spec.partition(":")
        found = data.load(f"{form}:{tmp_path}/{name}")
        assert (found.classes, found.split) == (("ant", "cat", "dog"), "validation")
        assert_holds(found, GREY[6:8], NUMBERS[6:8])
        assert labels(data.load(f"{form}:{tmp_path}/{name}", "train")) == NUMBERS[:6]
    assert data.load(f"hf:{tmp_path}/saved").file_name(1) == "val.png"


def test_channels_last(tmp_path: Path) -> None:
    for name, x in {"bytes": COLOUR, "floats": (COLOUR / 255).astype(np.float32)}.items():
        np.savez(tmp_path / f"{name}.npz", x=x, y=LABELS)
    assert_holds(data.load(f"npz:{tmp_path}/bytes.npz"), COLOUR, LABELS)
    with pytest.warns(DDRSWarning, match=r"\(9, 5, 4, 3\) are taken as images whose channels come"):
        found = data.load(f"npz:{tmp_path}/floats.npz")
    assert np.allclose(found.batch(0, 9)[0], COLOUR.transpose(0, 3, 1, 2) / 255)
