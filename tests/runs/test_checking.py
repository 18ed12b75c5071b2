from typing import Any

import pytest

from ddrs.runs.checking import check_values, row_checks, shown, summary_checks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("norm", "l7"), ("norm", None), ("bound", "both"), ("outcome", "made up"), ("n", -5),
        ("n", 0), ("n", 400.5), ("n", True), ("alpha", float("nan")), ("alpha", 0.0),
        ("alpha", 1.0), ("radius", float("inf")), ("radius", -0.1), ("radius", "0.5"),
        ("sigma", 0.0), ("index", -1), ("index", [0]), ("seed", 2**63), ("p_lower", 1.5),
        ("looks", 0.5), ("correct", 1), ("seconds", float("nan")), ("further", [[]]),
        ("further", [{"role": "answer"}]),
    ],
)  # fmt: skip
def test_a_value_that_no_row_has_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .* is not "):
        check_values({name: value}, row_checks)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acr", float("inf")), ("norm", "l7"), ("clean_accuracy", 1.5), ("inputs", 0),
        ("certified_accuracy", {"0.50": 7.0}), ("certified_accuracy_interval", {"0.50": (0, 2)}),
    ],
)  # fmt: skip
def test_a_figure_that_no_summary_has_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        check_values({name: value}, summary_checks)


def test_foreign_values_are_shown_short_and_without_control_characters() -> None:
    assert len(shown("a" * 10**6)) < 60
    assert "\x1b" not in shown("\x1b[2J\n")
    assert len(shown(10**400)) < 60


@pytest.mark.parametrize(("checks", "name"), [(row_checks, "sigma"), (summary_checks, "start")])
@pytest.mark.parametrize("value", [1e-320, 1e200])
def test_a_scale_whose_ratio_is_no_float_is_refused(checks: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .* is not a noise scale"):
        check_values({name: value}, checks)
