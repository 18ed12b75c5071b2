from typing import Any

import numpy as np
import pytest

from ddrs.errors import InputError
from ddrs.inputs import Point
from ddrs.memory.entries import Entry, from_row, input_row, region_row, resolution_of
from ddrs.memory.regions import Resolution

X = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
ENTRY = Entry(1, Point.of(X), Resolution(4, 0.3, "trimmed", "{}"), 4, 0.1 + 0.2)
ROW = region_row(ENTRY) | input_row(ENTRY)


def test_an_entry_comes_back_as_it_was() -> None:
    found = from_row(ROW, (2, 3))
    assert (found.id, found.resolution) == (ENTRY.id, ENTRY.resolution)
    assert (found.claimed_prediction, found.claimed_radius) == (4, 0.1 + 0.2)
    assert found.point.digest == ENTRY.point.digest
    assert found.point.x.dtype == np.float32
    np.testing.assert_array_equal(found.point.x, X)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": b"1234"}, "bytes"),
        ({"x": None}, "missing"),
        ({"x": (X + 1).tobytes()}, "digest"),
        ({"dtype": "<c8"}, "dtype"),
        ({"dtype": "<i4"}, "digest"),
        ({"encoding": "k/255"}, "bytes"),
        ({"input_digest": "0"}, "digest"),
        ({"claimed_radius": -1.0}, "claimed radius"),
        ({"claimed_prediction": -2}, "claimed prediction"),
        ({"prediction": -1}, "stored prediction"),
        ({"radius": float("inf")}, "stored radius"),
        ({"outcome": "abstained"}, "outcome"),
    ],
)
def test_a_row_that_was_altered_says_which_value_is_wrong(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        from_row(ROW | changes, (2, 3))


def test_the_answer_alone_is_checked_too() -> None:
    assert resolution_of(ROW) == ENTRY.resolution
    with pytest.raises(InputError, match="radius"):
        resolution_of(ROW | {"radius": -0.5})
