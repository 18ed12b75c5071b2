import numpy as np
import pytest

from ddrs.memory.index import ENTRIES_PER_BLOCK, Index
from ddrs.memory.sketch import sketch


def filled(xs, radii):
    index = Index()
    index.add(sketch(xs), radii)
    return index


def brute_force(xs, radii, x, radius):
    """Positions with d < R_i + R, in extended precision."""
    apart = (xs - x).reshape(len(xs), -1).astype(np.longdouble)
    distance = np.sqrt((apart**2).sum(axis=1))
    return np.flatnonzero(distance < radii.astype(np.longdouble) + radius)


@pytest.mark.parametrize("shape", [(2,), (8, 8), (3, 16, 16)])
@pytest.mark.parametrize("scale", [1e-35, 1e-18, 1.0, 1e10, 1e30])
def test_near_misses_nothing_and_is_close_where_the_sketch_is(shape, scale, monkeypatch):
    monkeypatch.setattr("ddrs.memory.index.PRODUCTS_PER_STEP", 64)  # many small scans
    rng = np.random.default_rng(0)
    xs = rng.random((500, *shape)) * scale
    typical = np.sqrt(np.prod(shape) / 6) * scale
    radii, reach = rng.random(500) * typical * 0.7, np.linspace(0, typical * 0.5, 40)
    queries = xs[:40] * 0.75
    found = filled(xs, radii).near(sketch(queries), reach)
    looked_at = wanted = 0
    for positions, x, radius in zip(found, queries, reach, strict=True):
        expected = brute_force(xs, radii, x, radius)
        assert set(expected) <= set(positions.tolist())
        assert (np.diff(positions) > 0).all()
        looked_at, wanted = looked_at + len(positions), wanted + len(expected)
    assert wanted > 20
    if shape == (2,) and 1e-18 < scale < 1e15:
        assert looked_at <= 1.01 * wanted + 1


def test_touching_float32_images_are_never_missed():
    # Two images that differ by one step in one pixel, far from the origin: float32 products cannot
    # tell them apart, so their error bound has to keep them.
    x = np.full((1, 3072), 1.0)
    y = x.copy()
    y[0, 0] = np.nextafter(np.float32(1.0), np.float32(2.0))
    assert len(filled(x, np.zeros(1)).near(sketch(y), np.array([2e-7]))[0]) == 1


@pytest.mark.parametrize("value", [1e300, 1e-200, 5e-324, 1e18, 2.0**70])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_magnitude_hides_a_ball_that_covers(value, sign):
    xs = np.array([[value, 0.0], [0.0, 0.0]])
    index = filled(xs, np.array([4 * value, 4 * value]))
    query = np.array([[sign * value, value / 4]])
    assert index.near(sketch(query), np.zeros(1))[0].tolist() == [0, 1]
    assert index.near(sketch(np.zeros((1, 2))), np.array([1e-9]))[0].tolist() == [0, 1]


def test_a_candidate_whose_products_overflow_sees_every_entry():
    index = filled(np.array([[-1e14, 0.0]]), np.zeros(1))
    assert index.near(sketch(np.array([[1e38, 0.0]])), np.array([1.6e38]))[0].tolist() == [0]


def test_entries_at_once_or_one_by_one_over_many_blocks():
    rng = np.random.default_rng(4)
    count = ENTRIES_PER_BLOCK + 100
    xs, radii = rng.random((count, 4)), rng.random(count) * 0.05
    index, marks = Index(), sketch(xs)
    index.add(marks[:50], radii[:50])
    for i in range(50, 60):
        index.add(marks[i : i + 1], radii[i : i + 1])
    index.add(marks[60:], radii[60:])
    assert len(index) == count
    expected = brute_force(xs, radii, xs[7], 0.1)
    found = index.near(marks[7:8], np.array([0.1]))[0]
    assert set(expected) <= set(found.tolist())
    assert len(found) < 1.05 * len(expected)
    within = index.near(marks[7:8], np.array([0.1]), start=100, stop=ENTRIES_PER_BLOCK + 50)[0]
    assert within.tolist() == [i for i in found.tolist() if 100 <= i < ENTRIES_PER_BLOCK + 50]


def test_nothing_is_near_in_an_empty_index():
    index = Index()
    assert len(index) == 0
    assert index.near(sketch(np.zeros((2, 3))), np.ones(2))[1].tolist() == []
