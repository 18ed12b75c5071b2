import errno
import os
import secrets
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddrs.errors import RunError
from ddrs.files import (
    check_file,
    clear_leftovers,
    is_leftover,
    made_beside,
    read_parquet,
    replacing,
    write,
)
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


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_partial_of_ones_own_is_kept_and_not_followed(tmp_path: Path, kind: str) -> None:
    path, mine = tmp_path / "file.txt", tmp_path / "file.txt.partial"
    (tmp_path / "elsewhere").write_text("mine")
    make = {
        "file": lambda: mine.write_text("mine"),
        "folder": mine.mkdir,
        "link": lambda: mine.symlink_to(tmp_path / "elsewhere"),
    }
    make[kind]()
    write(path, "after", "text")
    assert path.read_text() == "after"
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert mine.is_symlink() == (kind == "link")
    assert mine.is_dir() or mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file.txt", "file.txt.partial"]


def test_names_are_new_and_made_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    digits = iter(["0123abcd", "0123abcd", "4567abcd"])
    monkeypatch.setattr(secrets, "token_hex", lambda count: next(digits))
    (tmp_path / "file.txt.0123abcd.partial").symlink_to(tmp_path / "nowhere")
    with replacing(path) as partial:
        assert partial.name == "file.txt.4567abcd.partial"
        partial.write_text("new")
    assert path.read_text() == "new"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_has_the_mode_that_is_usual(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write(tmp_path / "file.txt", "text", "text")
    assert (tmp_path / "file.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_long_name_stays_possible(tmp_path: Path) -> None:
    for name in ("a" * 255, "κ" * 127):
        write(tmp_path / name, "text", "text")
        assert (tmp_path / name).read_text() == "text"


def test_a_link_is_replaced_and_a_device_is_not(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    write(tmp_path / "link", "new", "text")
    assert (tmp_path / "link").read_text() == "new"
    assert (tmp_path / "mine").read_text() == "mine"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="it is a pipe, device or socket, not a file"):
        write(tmp_path / "pipe", "new", "text")
    assert (tmp_path / "pipe").is_fifo()


def test_what_a_kill_leaves_is_told_from_what_is_ones_own(tmp_path: Path) -> None:
    left = made_beside(tmp_path / "file.txt")
    folder = made_beside(tmp_path / "file.txt", Path.mkdir)
    (folder / "inside").write_text("")
    kept = ["file.txt", "file.txt.partial", "file.txt.notes.partial", "other.0123abcd.partial"]
    for name in kept:
        (tmp_path / name).write_text("")
    assert is_leftover(left.name, "file.txt")
    assert is_leftover("file.txt.partial", "file.txt")  # of earlier versions
    assert not is_leftover("file.txt.notes.partial", "file.txt")
    assert not is_leftover("file.txt", "file.txt")
    clear_leftovers(tmp_path / "file.txt")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_pipe_or_device_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null"):
        with pytest.raises(OSError, match="pipe, device or socket"):
            check_file(path)
        with pytest.raises(OSError, match="pipe, device or socket"):
            read_parquet(Path(path))
    for path in (tmp_path, tmp_path / "missing", __file__):
        check_file(path)


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
