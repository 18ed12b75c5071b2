from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.parquet import read_parquet

TABLE = pa.table({"index": [0, 1], "radius": [0.1, 0.2]})


def test_a_table_comes_back_whole_or_by_columns(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet") == TABLE
    assert read_parquet(tmp_path / "a.parquet", ["radius"]) == TABLE.select(["radius"])


def test_what_is_no_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(b"PAR1 and no more")
    for name in ("cut", "missing", "."):
        with pytest.raises((pa.ArrowException, OSError)):
            read_parquet(tmp_path / name)
