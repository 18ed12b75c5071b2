import errno
import os

import pytest

from ddrs.errors import RunError
from ddrs.evaluation.files import replace_file
from evaluation.trainings import room


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file.txt"
    for content in (b"one", b"", b"two\n"):
        replace_file(path, content, "text")
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_full_disk_leaves_the_file_before(tmp_path):
    path = tmp_path / "file.txt"
    replace_file(path, b"before", "text")
    message = rf"^cannot write the text {path}: File too large; what was there is kept$"
    with room(1000), pytest.raises(RunError, match=message):
        replace_file(path, b"x" * 2000, "text")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_it_too(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    replace_file(path, b"before", "text")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(RunError, match="Input/output error"):
        replace_file(path, b"after", "text")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_directory_in_its_place_and_none_around_it_are_refused(tmp_path):
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "nowhere" / "file.txt"):
        with pytest.raises(RunError, match=f"cannot write the text {path}"):
            replace_file(path, b"", "text")
    assert os.listdir(tmp_path) == ["taken"]
