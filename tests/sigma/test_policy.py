import math

import pytest

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.sigma.policy import check_range, estimated_radius


def test_the_range_s_defaults_are_a_quarter_and_four_times_the_start():
    assert check_range(0.5, None, None) == (0.125, 2.0)
    assert check_range(0.5, 0.5, 0.5) == (0.5, 0.5)
    assert check_range(0.5, 0.1, None) == (0.1, 2.0)


@pytest.mark.parametrize(
    ("initial", "low", "high"),
    [
        (0.0, None, None),
        (-0.5, None, None),
        (math.nan, None, None),
        (math.inf, None, None),
        (0.5, 0.0, 1.0),
        (0.5, 0.6, 1.0),
        (0.5, 0.1, 0.4),
        (0.5, 0.1, math.inf),
        (0.5, math.nan, 1.0),
        (0.5, 0.1, math.nan),
    ],
)
def test_a_range_that_can_never_work_is_refused(initial, low, high):
    with pytest.raises(ConfigurationError, match="0 < low <= initial <= high"):
        check_range(initial, low, high)


@pytest.mark.parametrize(("noise", "full"), [(Gaussian(), 2.5758293), (Uniform(), 0.99)])
def test_the_estimate_is_the_radius_of_the_smoothed_share(noise, full):
    assert estimated_radius(noise, 2.0, 99, 99) == pytest.approx(2 * full, rel=1e-6)
    assert estimated_radius(noise, 1.0, 40, 80) == 0.0
    assert estimated_radius(noise, 1.0, 0, 80) == 0.0
    values = [estimated_radius(noise, 1.0, count, 80) for count in range(81)]
    assert values == sorted(values)
