import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddrs.display.rounding import radius_key, rounded_down, rounded_up

finite = st.floats(min_value=0, max_value=1e300)


@pytest.mark.parametrize(
    ("value", "digits", "down", "up"),
    [
        (0.52769, 3, "0.527", "0.528"),
        (0.99999, 2, "0.99", "1.00"),
        (0.378, 4, "0.3780", "0.3780"),
        (1e-9, 4, "0.0000", "0.0001"),
        (3.0, 2, "3.00", "3.00"),
        (np.float64(0.25), 1, "0.2", "0.3"),
        (np.float32(0.1), 2, "0.10", "0.11"),  # 0.10000000149 in double precision
    ],
)
def test_known_values(value: float, digits: int, down: str, up: str) -> None:
    assert rounded_down(value, digits) == down
    assert rounded_up(value, digits) == up


@given(value=finite, digits=st.integers(0, 8))
def test_text_reads_back_on_the_safe_side_and_is_close(value: float, digits: int) -> None:
    down, up = float(rounded_down(value, digits)), float(rounded_up(value, digits))

    assert down <= value <= up
    assert up - down <= 10**-digits + 4 * np.spacing(value)


@given(value=finite)
def test_rounding_again_changes_nothing(value: float) -> None:
    once = rounded_down(value, 4)

    assert rounded_down(float(once), 4) == once


@pytest.mark.parametrize(
    ("radius", "key"),
    [(0, "0.00"), (0.5, "0.50"), (1.25, "1.25"), (0.125, "0.125"), (2, "2.00"), (0.1, "0.10")],
)
def test_a_radius_keeps_its_value_in_its_key(radius: float, key: str) -> None:
    assert radius_key(radius) == key
