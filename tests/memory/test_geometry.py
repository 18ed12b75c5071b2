import math
import sys

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ddrs.memory.geometry import Distance, distance_bounds, from_units, to_units
from support.memory_reference import gap

numbers = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.integers(1, 6).flatmap(
    lambda d: st.tuples(*[st.lists(numbers, min_size=d, max_size=d)] * 2)
)
DIGITS = 1700  # from the square of the smallest float64 to that of the largest
EXACT = settings(max_examples=300, deadline=None, derandomize=True)


def unbounded(a, b, norm):
    return Distance(np.array(a), np.array(b), norm, 0.0, math.inf)


@EXACT
@given(numbers)
def test_units_are_exact(value):
    assert to_units(value) == mpmath.mpf(value) * mpmath.mpf(2) ** 1074
    assert from_units(to_units(abs(value))) == abs(value)


@pytest.mark.parametrize(
    ("units", "value"),
    [
        (2**53 + 1, 2.0**-1021),
        (2**54 + 3, 2.0**-1020),
        (1, 5e-324),
        (2**2098, sys.float_info.max),
        (2**3000, sys.float_info.max),
    ],
)
def test_from_units_rounds_down(units, value):
    assert from_units(units) == value


@EXACT
@given(vectors, st.sampled_from(["l1", "l2"]))
def test_float_bounds_enclose_the_distance_at_every_magnitude(pair, norm):
    a, b = pair
    lower, upper = distance_bounds(np.array([a]), np.array(b), norm)
    with mpmath.workdps(DIGITS):
        assert mpmath.mpf(float(lower[0])) <= gap(a, b, norm) <= mpmath.mpf(float(upper[0]))


@EXACT
@given(vectors, st.sampled_from(["l1", "l2"]))
def test_floor_and_ceil_enclose_the_distance_within_a_unit(pair, norm):
    d = unbounded(*pair, norm)
    with mpmath.workdps(DIGITS):
        exact = gap(*pair, norm) * mpmath.mpf(2) ** 1074
        assert d.floor == mpmath.floor(exact)
        assert d.ceil == mpmath.ceil(exact)


@EXACT
@given(vectors, numbers, st.integers(-2, 2), st.sampled_from(["l1", "l2"]))
def test_at_least_agrees_with_high_precision_next_to_equality(pair, second, steps, norm):
    with mpmath.workdps(DIGITS):
        exact = gap(*pair, norm)
        first = float(exact - second)
        assume(math.isfinite(first))
        for _ in range(abs(steps)):
            first = math.nextafter(first, math.copysign(math.inf, steps))
        assume(math.isfinite(first))
        expected = exact >= mpmath.mpf(first) + mpmath.mpf(second)
    lower, upper = (
        float(v[0]) for v in distance_bounds(np.array(pair[:1]), np.array(pair[1]), norm)
    )
    filtered = Distance(np.array(pair[0]), np.array(pair[1]), norm, lower, upper)
    assert unbounded(*pair, norm).at_least(first, second) == expected
    assert filtered.at_least(first, second) == expected


def test_float64_alone_would_decide_wrongly_here():
    # 0.1^2 + 0.2^2 in float64 has a root that rounds to the radius from below.
    d = unbounded([0.1, 0.2], [0.0, 0.0], "l2")
    radius = math.sqrt(0.1**2 + 0.2**2)
    with mpmath.workdps(60):
        assert d.at_least(radius) == (gap([0.1, 0.2], [0.0, 0.0], "l2") >= mpmath.mpf(radius))
    assert not d.at_least(math.nextafter(radius, 1.0))
    assert d.at_least(math.nextafter(radius, 0.0))


def test_image_sized_float32_inputs_are_exact():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 3 * 32 * 32), dtype=np.float32)
    lower, upper = distance_bounds(a[None], b.astype(np.float64), "l2")
    d = unbounded(a, b, "l2")
    with mpmath.workdps(60):
        exact = gap(a, b, "l2")
        assert mpmath.mpf(float(lower[0])) <= exact <= mpmath.mpf(float(upper[0]))
        assert mpmath.almosteq(mpmath.mpf(d.floor) / mpmath.mpf(2) ** 1074, exact, 1e-50)
    assert upper[0] - lower[0] < 1e-10
