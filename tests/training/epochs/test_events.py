import errno
import os
from dataclasses import replace

import pytest

from ddrs.errors import RunError
from ddrs.training.epochs.events import EpochEvents
from support.epochs import SIGMA_BOUNDS, fixed, read_events, read_tags, room, varied


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tensorboard"


def write(folder, history, sigma_bounds=None):
    events = EpochEvents(folder, sigma_bounds)
    for metrics in history:
        events.add(metrics)
    events.close()


def test_every_scalar_is_a_step_of_its_epoch(folder):
    write(folder, fixed(3, [0.5, 0.75, 0.25]))

    assert read_tags(folder) == {
        "loss": {0: 1, 1: 0.5, 2: pytest.approx(1 / 3)},
        "noisy_accuracy": {0: 0, 1: pytest.approx(0.001), 2: pytest.approx(0.002)},
        "validation_accuracy": {0: 0.5, 1: 0.75, 2: 0.25},
        "sigma/min": dict.fromkeys(range(3), 0.25),
        "sigma/median": dict.fromkeys(range(3), 0.25),
        "sigma/max": dict.fromkeys(range(3), 0.25),
    }


def test_an_accuracy_that_is_not_measured_is_not_shown(folder):
    write(folder, fixed(2))

    assert "validation_accuracy" not in read_tags(folder)


def test_scales_are_a_histogram(folder):
    write(folder, varied(3), SIGMA_BOUNDS)
    tags = read_tags(folder)
    last = tags["sigma/distribution"][2]

    assert tags["sigma/min"][2] == pytest.approx(0.45)
    assert tags["sigma/median"][2] == pytest.approx(0.55)
    assert tags["sigma/max"][2] == pytest.approx(0.65)
    assert list(tags["sigma/distribution"]) == [0, 1, 2]
    assert list(last.bucket) == [2 if part in (4, 6) else 0 for part in range(20)]
    assert list(last.bucket_limit) == pytest.approx([0.1 * part for part in range(1, 21)])
    assert (last.min, last.max, last.num) == (0, 2, 4)
    assert last.sum == pytest.approx(2 * 0.45 + 2 * 0.65)
    assert last.sum_squares == pytest.approx(2 * 0.45**2 + 2 * 0.65**2)


def test_an_epoch_is_on_disk_when_it_is_added(folder):
    events = EpochEvents(folder, None)
    for metrics in fixed(3):
        events.add(metrics)
        assert list(read_tags(folder)["loss"]) == list(range(metrics.epoch + 1))


def test_epochs_done_again_take_the_place_of_the_first_ones(folder):
    history = fixed(6)
    write(folder, history[:5])
    write(folder, [replace(history[3], loss=3.0)])
    write(folder, [replace(metrics, loss=4.0) for metrics in history[3:]])

    assert len(list(folder.iterdir())) == 3
    assert read_tags(folder)["loss"] == {0: 1, 1: 0.5, 2: pytest.approx(1 / 3), 3: 4, 4: 4, 5: 4}


@pytest.mark.parametrize("more", [0, 1, 100])
def test_a_full_disk_loses_no_epoch_before(folder, more):
    history = varied(6)
    events = EpochEvents(folder, SIGMA_BOUNDS)
    for metrics in history[:4]:
        events.add(metrics)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for limit in (len(whole) + more, more):  # the second time in a new file, of which nothing stays
        with room(limit), pytest.raises(RunError, match=r"too large; what was there is kept$"):
            events.add(history[4])
        assert [entry.read_bytes() for entry in folder.iterdir()] == [whole]

    for metrics in history[4:]:
        events.add(metrics)
    assert list(read_tags(folder)["loss"]) == list(range(6))


def test_a_disk_that_fails_at_the_end_loses_none_either(folder, monkeypatch):
    history = fixed(3)
    events = EpochEvents(folder, None)
    events.add(history[0])
    with monkeypatch.context() as patch:

        def fail(*_):
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="Input/output error"):
            events.add(history[1])
    assert list(read_tags(folder)["loss"]) == [0]
    write(folder, history[1:])
    assert list(read_tags(folder)["loss"]) == [0, 1, 2]


def test_a_folder_that_cannot_be_made_is_one_error(folder):
    folder.write_text("a file")
    with pytest.raises(RunError, match=f"^cannot write the TensorBoard log {folder}: File exists"):
        write(folder, fixed(1))
    assert folder.read_text() == "a file"


def test_a_file_starts_with_its_version_and_the_mark_of_a_restart(folder):
    write(folder, fixed(5)[4:])
    (path,) = folder.iterdir()
    version, start, epoch = read_events(path)

    assert "tfevents" in path.name
    assert (version.file_version, start.step, epoch.step) == ("brain.Event:2", 4, 4)
    assert start.session_log.status == start.session_log.START
    assert 0 < version.wall_time <= start.wall_time <= epoch.wall_time
