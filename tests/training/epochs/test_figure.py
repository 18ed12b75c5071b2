import warnings
from dataclasses import replace

import numpy as np
import pytest

from ddrs.training.epochs.figure import draw_training
from support.epochs import SIGMA_BOUNDS, fixed, varied


def points(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_one_scale_has_two_panels_of_lines():
    loss, accuracy = draw_training(fixed(3), None).axes

    assert points(loss.lines[0]) == [(1, 1), (2, 0.5), (3, 1 / 3)]
    assert [points(line) for line in accuracy.lines] == [[(1, 0), (2, 0.001), (3, 0.002)]]
    assert legend(accuracy) == ["training"]
    assert accuracy.get_ylim() == (0, 1)
    assert loss.get_ylim()[0] == 0
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]


def test_the_best_epoch_on_validation_is_marked():
    history = fixed(4, [0.5, 0.75, 0.75, 0.625])
    _, accuracy = draw_training(history, None).axes
    _, validation, best = accuracy.lines

    assert points(validation) == [(1, 0.5), (2, 0.75), (3, 0.75), (4, 0.625)]
    assert points(best) == [(3, 0.75)]
    assert legend(accuracy) == ["training", "validation", "best: 0.750 in epoch 3"]


def test_scales_have_a_panel_of_shares_and_lines():
    figure = draw_training(varied(3), SIGMA_BOUNDS)
    scales, bar = figure.axes[2:]
    (mesh,) = scales.collections
    shares = np.ma.getdata(mesh.get_array())
    edges = mesh.get_coordinates()

    assert shares.shape == (20, 3)
    assert shares[4].tolist() == [1, 0.5, 0.5]
    assert (shares[5, 1], shares[6, 2], shares.sum()) == (0.5, 0.5, 3)
    assert np.array_equal(np.ma.getmaskarray(mesh.get_array()), shares == 0)
    assert edges[0, :, 0].tolist() == [0.5, 1.5, 2.5, 3.5]  # a column around its epoch
    assert edges[:, 0, 1].tolist() == pytest.approx([0.1 * part for part in range(21)])
    least, largest, median = (line.get_ydata() for line in scales.lines)
    assert list(least) == pytest.approx([0.45, 0.45, 0.45])
    assert list(largest) == pytest.approx([0.45, 0.55, 0.65])
    assert list(median) == pytest.approx([0.45, 0.5, 0.55])
    assert legend(scales) == ["least and largest", "median"]
    assert scales.get_ylabel() == "sigma (pixel values in [0, 1])"
    assert bar.get_ylabel() == "fraction of the training examples"


def test_epochs_that_are_not_there_are_left_white():
    history = [varied(8)[epoch] for epoch in (4, 7)]
    (mesh,) = draw_training(history, SIGMA_BOUNDS).axes[2].collections
    shares = np.ma.filled(mesh.get_array(), 0)

    assert shares.sum(axis=0).tolist() == [1, 0, 0, 1]
    assert mesh.get_coordinates()[0, :, 0].tolist() == [4.5, 5.5, 6.5, 7.5, 8.5]


def test_a_range_of_one_scale_is_one_scale():
    history = [replace(metrics, sigma_counts=[4]) for metrics in fixed(2)]

    assert len(draw_training(history, (0.25, 0.25)).axes) == 2


@pytest.mark.parametrize(
    ("epochs", "ticks"),
    [(1, [1]), (3, [1, 2, 3]), (8, [*range(1, 9)]), (440, [50 * k for k in range(1, 9)])],
)
def test_ticks_are_whole_epochs_from_1(epochs, ticks):
    history = fixed(epochs, [0.5] * epochs)
    for axes in draw_training(history, None).axes:
        low, high = axes.get_xlim()
        assert (low, high) == (0.5, epochs + 0.5)
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == ticks


@pytest.mark.parametrize("epochs", [1, 2, 16, 440])
def test_legends_lie_outside_the_data_and_nothing_warns(epochs):
    history = [replace(varied(16)[min(e, 15)], epoch=e) for e in range(epochs)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_training(history, SIGMA_BOUNDS)
        figure.draw_without_rendering()
    width, height = figure.bbox.size
    for axes in figure.axes[1:3]:
        box = axes.get_legend().get_window_extent()
        assert not box.overlaps(axes.get_window_extent())
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
