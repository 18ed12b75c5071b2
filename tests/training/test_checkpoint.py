import errno
import os
import resource

import pytest
import torch

from ddrs.errors import RunError
from ddrs.training.checkpoint import check_fits, read_checkpoint, write_checkpoint

STATE = {"config": {"lr": 0.1, "seed": 1}, "examples": 5, "model": {"weight": torch.ones(2, 3)}}


def fits(state=STATE, **changes):
    known = {"config": STATE["config"], "examples": 5, "weights": STATE["model"]}
    check_fits("checkpoint.pt", state, **known | changes)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "checkpoint.pt"
    assert read_checkpoint(path) is None
    for value in (1.0, 2.0):
        write_checkpoint(path, STATE | {"sigmas": torch.full((3,), value, dtype=torch.float64)})
    state = read_checkpoint(path)
    assert torch.equal(state["sigmas"], torch.full((3,), 2.0, dtype=torch.float64))
    assert state["config"] == STATE["config"]
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """The system refuses, in the middle of the file, to let it grow."""
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write .* is kept: make room") as caught:
            write_checkpoint(path, STATE | {"sigmas": torch.rand(10**5)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.pt"]
    write_checkpoint(path, STATE | {"sigmas": torch.rand(10**5)})


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_it_too(tmp_path, monkeypatch, step):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(RunError, match="No space left on device"):
        write_checkpoint(path, STATE | {"more": 1})
    assert path.read_bytes() == before


def test_a_directory_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        write_checkpoint(tmp_path / "nowhere" / "checkpoint.pt", STATE)


def test_a_damaged_file_is_one_error_and_is_kept(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE)
    whole = path.read_bytes()
    for content in (b"", whole[:10], whole[: len(whole) // 2], b"no checkpoint"):
        path.write_bytes(content)
        with pytest.raises(RunError, match="delete it to start over") as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content


def test_something_else_that_torch_saved_is_one_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save([1, 2], path)
    with pytest.raises(RunError, match="delete it to start over"):
        read_checkpoint(path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"config": os.system}, path)
    with pytest.raises(RunError, match="cannot resume"):
        read_checkpoint(path)


def test_another_training_is_told_apart():
    fits()
    with pytest.raises(RunError, match=r"another training configuration \(lr, epochs differ\)"):
        fits(config={"lr": 0.2, "seed": 1, "epochs": 3})
    with pytest.raises(RunError, match="with 5 examples, not 6"):
        fits(examples=6)
    for weights in (
        {"weight": torch.ones(3, 2)},
        {"other": torch.ones(2, 3)},
        {"weight": torch.ones(2, 3), "bias": torch.ones(2)},
    ):
        with pytest.raises(RunError, match="another architecture"):
            fits(weights=weights)
    fits(weights={"weight": torch.zeros(2, 3)})  # its values are what is to be replaced


def test_a_pipe_is_refused_and_what_a_kill_left_is_removed(tmp_path):
    (tmp_path / "c.pt.0123abcd.partial").write_bytes(b"half")
    (tmp_path / "c.pt.partial").write_bytes(b"mine")
    write_checkpoint(tmp_path / "c.pt", STATE)
    assert sorted(os.listdir(tmp_path)) == ["c.pt", "c.pt.partial"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="pipe, device or socket"):
        read_checkpoint(tmp_path / "pipe")
