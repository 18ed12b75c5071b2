import io
import os
from dataclasses import replace

import pytest
from PIL import Image

from ddrs.errors import RunError
from ddrs.training.epochs import log as epochs
from ddrs.training.epochs.log import EpochLog, read_epochs
from support.epochs import SIGMA_BOUNDS, fixed, read_tags, room, varied


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the log reads; a test moves them."""
    now = [1000.0]
    monkeypatch.setattr(epochs.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def drawn(monkeypatch):
    """How many epochs each drawing had; nothing is drawn."""
    counts = []
    monkeypatch.setattr(
        epochs, "draw_training", lambda history, sigma_bounds: counts.append(len(history))
    )
    monkeypatch.setattr(epochs, "write_figure", lambda figure, path: path.write_bytes(b"drawn"))
    return counts


def record(directory, history, sigma_bounds=None):
    with EpochLog(directory, sigma_bounds=sigma_bounds) as log:
        for metrics in history:
            log.add(metrics)


def contents(directory):
    return {p.name: p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def exact(history):
    """With the seconds too, which epochs are not compared by."""
    return [(metrics, metrics.seconds) for metrics in history]


@pytest.mark.parametrize(
    ("history", "sigma_bounds"),
    [(fixed(3), None), (fixed(3, [0.1, 1 / 3, 1e-20]), None), (varied(5), SIGMA_BOUNDS)],
)
def test_what_is_added_is_read_back_exactly(tmp_path, drawn, history, sigma_bounds):
    record(tmp_path, history, sigma_bounds)

    assert exact(read_epochs(tmp_path / "epochs.csv")) == exact(history)
    assert list(read_tags(tmp_path / "tensorboard")["loss"]) == [m.epoch for m in history]


def test_the_table_is_plain(tmp_path, drawn):
    record(tmp_path, [replace(varied(1)[0], epoch=7, validation_accuracy=None)], SIGMA_BOUNDS)

    assert (tmp_path / "epochs.csv").read_text() == (
        "epoch,loss,noisy_accuracy,seconds,validation_accuracy,"
        "sigma_min,sigma_median,sigma_max,sigma_counts\n"
        "7,1.5,0.5,2.0,,0.45,0.45,0.45,0 0 0 0 4 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    )


def test_each_epoch_is_there_when_it_is_added(tmp_path, drawn):
    with EpochLog(tmp_path, sigma_bounds=None) as log:
        assert contents(tmp_path) == {}
        for count, metrics in enumerate(fixed(3), start=1):
            log.add(metrics)
            assert read_epochs(tmp_path / "epochs.csv") == log.history == fixed(count)
            assert len(read_tags(tmp_path / "tensorboard")["loss"]) == count


@pytest.mark.parametrize("again", [4, 3, 0])
def test_a_resume_replaces_the_epochs_that_it_does_again(tmp_path, drawn, again):
    history = fixed(7)
    record(tmp_path, history[:5])
    rest = [replace(metrics, loss=9.0) for metrics in history[again:]]
    record(tmp_path, rest)

    assert read_epochs(tmp_path / "epochs.csv") == [*history[:again], *rest]
    losses = read_tags(tmp_path / "tensorboard")["loss"]
    assert list(losses) == list(range(7))
    assert [losses[epoch] for epoch in range(again, 7)] == [9] * (7 - again)


def test_a_table_one_epoch_behind_catches_up(tmp_path, drawn):
    history = fixed(4)
    record(tmp_path, history[:2])
    record(tmp_path, history[2:])

    assert read_epochs(tmp_path / "epochs.csv") == history
    assert list(read_tags(tmp_path / "tensorboard")["loss"]) == [0, 1, 2, 3]


def test_an_epoch_added_twice_is_shown_once(tmp_path, drawn):
    history = fixed(3)
    record(tmp_path, [*history, replace(history[1], loss=9.0)])

    assert [metrics.loss for metrics in read_epochs(tmp_path / "epochs.csv")] == [1, 9]
    assert read_tags(tmp_path / "tensorboard")["loss"] == {0: 1, 1: 9}


def test_the_picture_is_drawn_first_then_when_it_is_old_and_last(tmp_path, drawn, clock):
    history = fixed(6)
    with EpochLog(tmp_path, sigma_bounds=None) as log:
        log.add(history[0])
        clock[0] += 60
        log.add(history[1])
        assert drawn == [1]
        clock[0] += 1
        log.add(history[2])
        assert drawn == [1, 3]
        clock[0] += 61
        log.add(history[3])
        log.add(history[4])
        assert drawn == [1, 3, 4]
    assert drawn == [1, 3, 4, 5]
    record(tmp_path, history[4:5])
    assert drawn == [1, 3, 4, 5, 5]  # the last drawing has all: not again at the end


def test_a_log_without_epochs_leaves_nothing(tmp_path):
    record(tmp_path, [])

    assert contents(tmp_path) == {}


@pytest.mark.parametrize(("history", "sigma_bounds"), [(fixed(1), None), (varied(8), SIGMA_BOUNDS)])
def test_the_picture_is_a_whole_png(tmp_path, history, sigma_bounds):
    record(tmp_path, history, sigma_bounds)

    with Image.open(io.BytesIO((tmp_path / "training.png").read_bytes())) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == ((1260, 504) if sigma_bounds is None else (1860, 504))
    assert sorted(os.listdir(tmp_path)) == ["epochs.csv", "tensorboard", "training.png"]


def test_a_full_disk_leaves_every_file_whole_and_the_log_goes_on(tmp_path, drawn):
    history = varied(6)
    record(tmp_path, history[:4], SIGMA_BOUNDS)
    before = contents(tmp_path)
    for limit in (0, len(before["epochs.csv"])):
        log = EpochLog(tmp_path, sigma_bounds=SIGMA_BOUNDS)
        with room(limit), pytest.raises(RunError, match=r"epochs\.csv: File too large"), log:
            log.add(history[4])
        assert contents(tmp_path) == before
    record(tmp_path, history[3:], SIGMA_BOUNDS)
    assert read_epochs(tmp_path / "epochs.csv") == history
    assert list(read_tags(tmp_path / "tensorboard")["loss"]) == list(range(6))


def test_a_full_disk_leaves_the_picture_before(tmp_path):
    history = fixed(3)
    record(tmp_path, history[:2])
    before = contents(tmp_path)
    log = EpochLog(tmp_path, sigma_bounds=None)
    with room(10_000), pytest.raises(RunError, match="cannot write the figure"), log:
        log.add(history[2])  # the rest of it is small

    assert contents(tmp_path)["training.png"] == before["training.png"]
    assert read_epochs(tmp_path / "epochs.csv") == history
    assert list(read_tags(tmp_path / "tensorboard")["loss"]) == [0, 1, 2]


@pytest.mark.parametrize("name", ["epochs.csv", "training.png", "tensorboard"])
def test_a_place_that_is_taken_is_one_clear_error(tmp_path, name):
    taken = tmp_path / name
    taken.touch() if name == "tensorboard" else taken.mkdir()
    with pytest.raises(RunError, match=r"cannot (read|write)") as caught:
        record(tmp_path, fixed(1))

    assert "\n" not in str(caught.value)
    assert taken.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_directory_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(RunError, match="cannot write the epochs"):
        record(tmp_path / "nowhere", fixed(1))


def interrupted(directory, history, at_the_end=lambda: None):
    with EpochLog(directory, sigma_bounds=None) as log:
        for metrics in history:
            log.add(metrics)
        at_the_end()
        raise KeyboardInterrupt


def test_a_training_that_is_stopped_is_drawn_to_its_end(tmp_path, drawn, clock):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, fixed(3))

    assert drawn == [1, 3]


def test_what_ended_the_training_is_what_is_raised(tmp_path, clock):
    def take_its_place():
        (tmp_path / "training.png").unlink()
        (tmp_path / "training.png").mkdir()

    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, fixed(2), take_its_place)

    assert read_epochs(tmp_path / "epochs.csv") == fixed(2)


def damaged(text):
    header, first, second, *_ = text.splitlines(keepends=True)
    return {
        "empty": "",
        "cut": text[:-1],
        "half a row": text[: -len(second) // 2] + "\n",
        "other columns": text.replace("loss", "los", 1),
        "a word": text.replace("0.5", "half", 1),
        "a quote": text.replace("0.5", '"0.5', 1),
        "twice": header + first + first,
        "backwards": header + second + first,
        "histograms": header + first + second.replace("0 0 0", "0 0", 1),
        "an extra cell": header + first.replace("\n", ",1\n"),
        "a cell without end": text.replace("0.5", "5" * 200_000, 1),
        "a NUL": text.replace("0.5", "\0", 1),
    }


@pytest.mark.parametrize("damage", list(damaged("1\n2\n3\n")))
def test_a_damaged_table_is_one_error_and_is_kept(tmp_path, drawn, damage):
    record(tmp_path, varied(2), SIGMA_BOUNDS)
    path = tmp_path / "epochs.csv"
    path.write_text(damaged(path.read_text())[damage])
    before = contents(tmp_path)

    for read in (lambda: read_epochs(path), lambda: record(tmp_path, varied(3)[2:], SIGMA_BOUNDS)):
        with pytest.raises(RunError, match="move the file away to go on") as caught:
            read()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert contents(tmp_path) == before


def test_bytes_that_are_no_text_and_no_file_are_one_error(tmp_path):
    (tmp_path / "epochs.csv").write_bytes(b"\xff\xfe\n")
    for name in ("epochs.csv", "nothing.csv"):
        with pytest.raises(RunError, match="cannot read the epochs"):
            read_epochs(tmp_path / name)


def test_without_its_table_a_training_goes_on(tmp_path, drawn):
    history = fixed(4)
    record(tmp_path, history[:2])
    (tmp_path / "epochs.csv").unlink()
    record(tmp_path, history[1:])

    assert read_epochs(tmp_path / "epochs.csv") == history[1:]
    assert list(read_tags(tmp_path / "tensorboard")["loss"]) == [0, 1, 2, 3]
