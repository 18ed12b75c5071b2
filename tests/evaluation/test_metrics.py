from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from ddrs.errors import ConfigurationError, InputError
from ddrs.evaluation.metrics import (
    accuracy_interval,
    average_certified_radius,
    certified_accuracy,
)
from ddrs.runs.rows import LoggedRow

ROWS = [
    LoggedRow(0, 3, 3, 0.25, True),
    LoggedRow(1, 3, 5, 1.75, False),
    LoggedRow(2, 1, 1, 1.0, True),
    LoggedRow(3, 1, -1, 0.0, False),
    LoggedRow(4, 0, 0, 0.0, True),
]

pairs = st.lists(st.tuples(st.floats(0, 4), st.booleans()), min_size=1, max_size=30)


def rows_of(values: list[tuple[float, bool]]) -> list[LoggedRow]:
    return [LoggedRow(i, 1, int(ok), radius, ok) for i, (radius, ok) in enumerate(values)]


def test_certified_accuracy_counts_correct_rows_that_reach_the_radius() -> None:
    accuracy = certified_accuracy(ROWS, [0.0, 0.25, 0.26, 1.0, 1.5])

    assert accuracy.dtype == np.float64
    assert accuracy.tolist() == [3 / 5, 2 / 5, 1 / 5, 1 / 5, 0.0]


def test_radii_may_come_in_any_order_and_kind() -> None:
    assert certified_accuracy(ROWS, (1.5, 0.25)).tolist() == [0.0, 2 / 5]
    assert certified_accuracy(ROWS, np.array([1.5, 0.25])).tolist() == [0.0, 2 / 5]
    assert certified_accuracy(ROWS, (r for r in (1.5, 0.25))).tolist() == [0.0, 2 / 5]
    assert certified_accuracy(ROWS, []).tolist() == []


@pytest.mark.parametrize("radius", [1, 1.0, np.float64(1), np.float32(1)])
def test_one_radius_gives_a_float(radius: float) -> None:
    accuracy = certified_accuracy(ROWS, radius)

    assert type(accuracy) is float
    assert accuracy == 1 / 5


def test_average_certified_radius_counts_only_correct_rows() -> None:
    assert average_certified_radius(ROWS) == (0.25 + 1.0) / 5


def test_average_certified_radius_does_not_lose_small_terms() -> None:
    rows = rows_of([(1e16, True), (1.0, True), (1.0, True), (0.0, True)])

    assert average_certified_radius(rows) == (1e16 + 2) / 4


def test_mappings_and_any_iterable_do_as_rows() -> None:
    records = [{"radius": row.radius, "correct": row.correct, "more": "x"} for row in ROWS]

    assert certified_accuracy(iter(records), 0.25) == certified_accuracy(ROWS, 0.25)
    assert average_certified_radius(records) == average_certified_radius(ROWS)


def test_correct_as_the_text_of_a_table_is_not_taken_for_true() -> None:
    records = [{"radius": "0.5", "correct": "0"}, {"radius": "0.5", "correct": "1"}]

    assert certified_accuracy(records, 0.5) == 0.5


@given(values=pairs, radii=st.lists(st.floats(0, 5), min_size=1, max_size=10))
def test_accuracy_is_the_definition_and_falls_with_the_radius(
    values: list[tuple[float, bool]], radii: list[float]
) -> None:
    radii = sorted([*radii, *(radius for radius, _ in values)])
    accuracy = certified_accuracy(rows_of(values), radii)

    counted = [sum(ok and radius >= r for radius, ok in values) / len(values) for r in radii]
    assert accuracy.tolist() == counted
    assert np.all(np.diff(accuracy) <= 0)


@given(values=pairs)
def test_acr_is_the_area_under_the_certified_accuracy(values: list[tuple[float, bool]]) -> None:
    rows = rows_of(values)
    steps = np.unique([0.0, *(radius for radius, _ in values)])
    area = float(np.sum(np.diff(steps) * certified_accuracy(rows, steps[1:])))

    assert average_certified_radius(rows) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("metric", [average_certified_radius, lambda r: certified_accuracy(r, 0.5)])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([{"radius": float("nan"), "correct": True}], "row 0 has radius nan"),
        ([*ROWS, {"radius": float("inf"), "correct": True}], "row 5 has radius inf"),
        ([{"radius": -0.1, "correct": False}], "row 0 has radius -0.1"),
        ([{"radius": 0.1, "correct": 2}], "correct must be 0 or 1"),
        ([{"radius": 0.1}], "row 0 must have"),
        ([{"radius": None, "correct": True}], "row 0 must have"),
        ([{"radius": "wide", "correct": True}], "row 0 must have"),
        ([ROWS[0], 7], "row 1 must have"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(
    metric: Callable[[Any], Any], rows: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metric(rows)


@pytest.mark.parametrize("radii", [-0.1, float("nan"), [0.5, -1.0]])
def test_radii_that_mean_nothing_are_refused(radii: float | list[float]) -> None:
    with pytest.raises(ConfigurationError, match="at least 0"):
        certified_accuracy(ROWS, radii)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(
    ("hits", "inputs"), [(0, 1), (1, 1), (0, 500), (1, 500), (264, 500), (499, 500), (7777, 10_000)]
)
def test_interval_is_clopper_pearson(hits: int, inputs: int, level: float) -> None:
    expected = proportion_confint(hits, inputs, alpha=1 - level, method="beta")

    interval = accuracy_interval(hits, inputs, level)

    assert interval == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert all(type(end) is float for end in interval)


def test_interval_at_the_ends_by_hand() -> None:
    assert accuracy_interval(0, 10) == pytest.approx((0, 1 - 0.025 ** (1 / 10)), rel=1e-12)
    assert accuracy_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1), rel=1e-12)


@pytest.mark.parametrize(("hits", "inputs"), [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_cannot_be_are_refused(hits: int, inputs: int) -> None:
    with pytest.raises(InputError, match="hits"):
        accuracy_interval(hits, inputs)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_levels_that_cannot_be_are_refused(level: float) -> None:
    with pytest.raises(ConfigurationError, match="level"):
        accuracy_interval(1, 10, level)


def test_radii_whose_sum_is_no_float_have_an_average() -> None:
    assert average_certified_radius(rows_of([(1e308, True)] * 4)) == pytest.approx(1e308)
