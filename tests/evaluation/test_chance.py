from fractions import Fraction
from math import comb

import pytest

from ddrs.evaluation.chance import near_chance


def at_most(count: int, n: int, p: Fraction) -> Fraction:
    """P(Binomial(n, p) <= count), exactly."""
    return sum((comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count + 1)), Fraction(0))


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("n", [1, 2, 5, 9, 30, 101])
def test_near_chance_is_what_exact_probabilities_say(n: int, classes: int) -> None:
    chance = Fraction(1, classes)
    for correct in range(n + 1):
        guessed = 1 - at_most(correct - 1, n, chance)
        halfway = at_most(correct, n, (1 + chance) / 2)
        expected = guessed > Fraction(1, 1000) and halfway < Fraction(1, 20)
        assert near_chance(correct, n, classes) == expected, correct


@pytest.mark.parametrize(
    ("correct", "n", "classes", "expected"),
    [
        (0, 9, 1000, True),  # a network of ImageNet in another order of classes
        (1020, 10_000, 10, True),
        (9, 90, 10, True),
        (0, 1, 10, False),  # one input says nothing
        (0, 4, 10, True),
        (20, 20, 2, False),
        (14, 20, 2, False),  # weak, perhaps, but not a mistake
        (30, 100, 10, False),
    ],
)
def test_what_is_near_chance(correct: int, n: int, classes: int, expected: bool) -> None:
    assert near_chance(correct, n, classes) is expected
