from dataclasses import FrozenInstanceError

import pytest

from ddrs.runs.rows import LoggedRow


def test_a_row_is_a_value_that_cannot_change() -> None:
    row = LoggedRow(index=3, label=1, prediction=1, radius=0.5, correct=True)

    assert row == LoggedRow(3, 1, 1, 0.5, True, None)
    with pytest.raises(FrozenInstanceError):
        row.radius = 2.0  # type: ignore[misc]
