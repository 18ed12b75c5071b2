import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.proof.tries import alpha_left

probabilities = st.floats(0, 1, exclude_min=True, exclude_max=True)


@given(probabilities, probabilities)
def test_what_is_left_never_adds_up_to_more_than_was_asked_for(asked, spent):
    left = alpha_left(asked, spent)
    exact = Fraction(asked) - Fraction(spent)
    assert 0 <= left <= max(exact, 0)
    assert exact <= 0 or exact - Fraction(left) < 2 * Fraction(math.ulp(left))


@given(probabilities)
def test_the_first_try_has_all_of_it_and_after_that_nothing_is_left(alpha):
    assert alpha_left(alpha, 0.0) == alpha
    assert alpha_left(alpha, alpha) == 0.0


@pytest.mark.parametrize(("asked", "spent"), [(0.08, 0.05), (0.3, 0.1), (0.05, 1e-3)])
def test_the_rounding_of_common_values_is_down(asked, spent):
    assert Fraction(alpha_left(asked, spent)) + Fraction(spent) <= Fraction(asked)
    assert alpha_left(asked, spent) == pytest.approx(asked - spent)


def test_a_difference_that_rounds_up_is_rounded_down():
    rounded_up = [
        (a / 1000, s / 1000)
        for a in range(1, 100)
        for s in range(1, a)
        if Fraction(a / 1000 - s / 1000) + Fraction(s / 1000) > Fraction(a / 1000)
    ]
    assert rounded_up  # or this would test nothing
    for asked, spent in rounded_up:
        assert alpha_left(asked, spent) == math.nextafter(asked - spent, 0.0)
