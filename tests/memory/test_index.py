import numpy as np
import pytest

from ddrs.memory.geometry import distance_bounds
from ddrs.memory.index import Index


def filled(count, dimension, norm="l2", seed=0, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    xs = (rng.random((count, dimension)).astype(dtype) * dtype(scale)).astype(np.float64)
    predictions, radii = rng.integers(0, 5, count), rng.random(count) * 0.3 * scale
    index = Index(dimension, norm)
    for x, c, r in zip(xs, predictions, radii, strict=True):
        index.add(x, int(c), float(r))
    return index, xs, predictions, radii


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-35, 1.0, 1e30])
def test_near_is_what_a_plain_scan_finds(norm, dtype, scale, monkeypatch):
    monkeypatch.setattr("ddrs.memory.index.BLOCK", 64)  # many blocks
    index, xs, predictions, radii = filled(150, 4, norm, dtype=dtype, scale=scale)
    queries = xs[::7] * 0.75
    reach = np.linspace(0, 0.4 * scale, len(queries))
    for found, x, radius in zip(index.near(queries, reach), queries, reach, strict=True):
        lower, _ = distance_bounds(xs, x, norm)
        expected = np.nonzero(lower < np.nextafter(radii + radius, np.inf))[0]
        assert [n.position for n in found] == expected.tolist()
        assert [n.prediction for n in found] == predictions[expected].tolist()
        assert [n.radius for n in found] == radii[expected].tolist()
        assert all(np.array_equal(n.distance.a, xs[n.position]) for n in found)


def test_touching_float32_images_are_never_missed():
    # Two images that differ by one step in one pixel, far from the origin: the float32 product
    # cannot tell them apart, so its error bound has to keep them.
    x = np.full(3072, 1.0)
    y = x.copy()
    y[0] = np.nextafter(np.float32(1.0), np.float32(2.0))
    index = Index(3072, "l2")
    index.add(x, 0, 0.0)
    assert len(index.near(y[None], np.array([2e-7]))[0]) == 1
    assert index.near(y[None], np.array([1e-7]))[0] == []


@pytest.mark.parametrize("value", [1e200, 1e-200, 5e-324, 1e308])
def test_magnitudes_beyond_squares_keep_overlapping_balls_and_drop_distant_ones(value):
    index = Index(2, "l2")
    index.add(np.array([value, 0.0]), 0, value / 2)
    inside, outside = np.array([[value, value / 4]]), np.array([[-value, 0.0]])
    assert len(index.near(inside, np.zeros(1))[0]) == 1
    far = index.near(outside, np.zeros(1))[0]
    assert all(n.distance.at_least(n.radius) for n in far)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_float32_product_that_overflows_hides_nothing(sign):
    index = Index(2, "l2")
    index.add(np.array([2.0**70, 0.0]), 0, 2.0**72)
    assert index._centres.dtype == np.float32
    found = index.near(np.array([[sign * 2.0**70, 0.0]]), np.zeros(1))[0]
    assert [n.position for n in found] == [0]


def test_along_sees_entries_added_on_the_way(monkeypatch):
    monkeypatch.setattr("ddrs.memory.index.CHUNK", 3)
    index = Index(1, "l2")
    xs = [np.array([float(i)]) for i in range(8)]
    for i, neighbours in enumerate(index.along(xs, [10.0] * 8)):
        assert [n.position for n in neighbours] == list(range(i))
        index.add(xs[i], i, 0.0)


def test_truncate_forgets_the_latest_entries_only():
    index, xs, _, _ = filled(40, 3)
    index.truncate(30)
    assert len(index) == 30
    assert [n.position for n in index.near(xs[:1], np.full(1, 9.0))[0]] == list(range(30))
    index.truncate(35)
    assert len(index) == 30


def test_float32_centres_stay_small_until_one_needs_float64():
    index, xs, _, _ = filled(20, 3)
    assert index._centres.dtype == np.float32
    index.add(np.array([0.1, 0.2, 0.3]), 0, 0.0)
    assert index._centres.dtype == np.float64
    everything = index.near(np.array([[0.1, 0.2, 0.3]]), np.full(1, 9.0))[0]
    assert np.array_equal(everything[-1].distance.a, [0.1, 0.2, 0.3])
    assert np.array_equal(everything[0].distance.a, xs[0])
