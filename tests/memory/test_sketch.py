import numpy as np
import pytest
from scipy import fft

from ddrs.memory.sketch import SKETCH_ERROR, SKETCH_SIZE, sketch

SHAPES = [
    (),
    (1,),
    (5,),
    (SKETCH_SIZE - 1,),
    (SKETCH_SIZE,),
    (700,),
    (3, 32, 32),
    (1, 28, 28),
    (8, 8),
    (2, 3, 4, 5),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e10])
def test_lengths_are_kept_and_distances_never_overstated(shape, scale):
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(40, *shape)) * scale
    xs[20:] = xs[:20] + rng.normal(size=(20, *shape)) * scale * 1e-3  # close pairs too
    flat, made = xs.reshape(40, -1), sketch(xs).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=1)
    assert np.abs(np.linalg.norm(made, axis=1) - lengths).max() <= SKETCH_ERROR * lengths.max()
    apart = np.linalg.norm(flat[:, None] - flat, axis=2)
    seen = np.linalg.norm(made[:, None] - made, axis=2)
    assert (seen <= apart + SKETCH_ERROR * (lengths[:, None] + lengths)).all()


def test_the_numbers_are_the_lowest_frequencies_and_the_length_of_the_rest():
    x = np.random.default_rng(1).random((3, 32, 32))
    spectrum = fft.dctn(x, norm="ortho")
    made = sketch(x[None])[0]
    assert made[0] == pytest.approx(x.sum() / np.sqrt(x.size))
    low = {(0, 0, 0): 0, (0, 0, 1): 1, (0, 1, 0): 2, (1, 0, 0): 3}
    for frequency, place in low.items():
        assert made[place] == pytest.approx(spectrum[frequency], rel=1e-5)
    rest = np.sqrt(np.sum(x**2) - np.sum(made[:-1].astype(float) ** 2))
    assert made[-1] == pytest.approx(rest, rel=1e-4)


def test_an_input_with_few_numbers_is_kept_whole():
    xs = np.random.default_rng(2).random((50, 3, 4))
    made = sketch(xs).astype(np.float64)
    apart = np.linalg.norm((xs[:, None] - xs).reshape(50, 50, -1), axis=2)
    assert np.linalg.norm(made[:, None] - made, axis=2) == pytest.approx(apart, abs=1e-6)


def test_a_sketch_does_not_depend_on_its_batch():
    xs = np.random.default_rng(3).random((9, 3, 8, 8))
    assert np.array_equal(sketch(xs), np.concatenate([sketch(x[None]) for x in xs]))


def test_numbers_beyond_float32_show():
    assert not np.isfinite(sketch(np.full((1, 4), 1e300))).all()
