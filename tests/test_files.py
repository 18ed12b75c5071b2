import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.errors import RunError
from ddrs.files import read_parquet, replacing, write
from support.epochs import room


def test_the_old_file_is_there_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")

    def interrupted() -> None:
        with replacing(path) as partial:
            partial.write_text("half of wh")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_something_in_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    (tmp_path / "file.txt.partial").mkdir()
    with pytest.raises(RunError, match="directory"):
        write(path, "after", "text")
    assert path.read_text() == "before"


def test_whatever_is_made_is_written_and_replaced(tmp_path):
    path = tmp_path / "file.txt"
    for content in (b"one", b"", b"two\n", "three\r\nκ\n"):
        write(path, content, "text")
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_leaves_the_file_before(tmp_path):
    path = tmp_path / "file.txt"
    write(path, b"before", "text")
    message = rf"^cannot write the text {path}: File too large; what was there is kept$"
    with room(1000), pytest.raises(RunError, match=message):
        write(path, b"x" * 2000, "text")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_it_too(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    write(path, b"before", "text")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(RunError, match="Input/output error"):
        write(path, b"after", "text")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_directory_in_its_place_and_none_around_it_are_refused(tmp_path):
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "nowhere" / "file.txt"):
        with pytest.raises(RunError, match=f"cannot write the text {path}"):
            write(path, b"", "text")
    assert os.listdir(tmp_path) == ["taken"]


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
