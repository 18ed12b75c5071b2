from pathlib import Path

import pytest

from ddrs import data
from ddrs.errors import DataError
from support.pictures import GREY, LABELS, assert_holds, write_parquet


@pytest.mark.parametrize("form", ["parquet", "npz", "folder"])
def test_a_missing_path_is_named(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=r"nothing exists at .*absent"):
        data.load(f"{form}:{tmp_path}/absent")


@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "target"])
def test_parquet_accepts_the_usual_columns(tmp_path: Path, label: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", GREY, LABELS, ("img", label))
    assert_holds(data.load(f"parquet:{path}"), GREY, LABELS)
