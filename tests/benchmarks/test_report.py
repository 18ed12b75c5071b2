"""Ratios and tables of the benchmarks, from made-up measurements."""

import pytest

from benchmarks.report import Limit, growth_per_vote, memory_limits, ratios, tables

RATES = {
    "bare fp32": [100.0, 50.0, 200.0],
    "ddrs fp32": [95.0, 45.0, 199.0],
    "ddrs compiled fp32": [130.0, 66.0, 240.0],
    "toolbox": [50.0, 30.0, 80.0],
}


def test_a_ratio_is_taken_round_by_round() -> None:
    (ratio,) = ratios(RATES, [("ddrs fp32", "bare fp32", 0.93)])
    assert ratio.pairs == (0.95, 0.9, 0.995)
    assert ratio.median == 0.95  # the ratio of the medians would be 0.95 too only by chance
    (ratio,) = ratios(RATES, [("toolbox", "bare fp32", None)])
    assert ratio.median == 0.5
    assert ratio.met is None


@pytest.mark.parametrize(("target", "met"), [(0.94, True), (0.95, True), (0.951, False)])
def test_a_target_is_met_from_its_own_value_on(target: float, met: bool) -> None:
    (ratio,) = ratios(RATES, [("ddrs fp32", "bare fp32", target)])
    assert ratio.met is met
    assert ratio.to_json()["met"] is met


def test_a_star_stands_for_the_fastest_arm() -> None:
    (ratio,) = ratios(RATES, [("ddrs*", "toolbox", 3.0)])
    assert ratio.of == "ddrs compiled fp32"
    assert ratio.fastest
    assert ratio.pairs == (2.6, 2.2, 3.0)
    assert ratio.met is False


def test_an_arm_that_was_not_measured_has_no_ratio() -> None:
    assert ratios(RATES, [("ddrs bf16", "bare fp32", 1.0), ("other*", "toolbox", 1.0)]) == []


def test_memory_is_compared_with_the_model_in_the_same_precision() -> None:
    peaks = {"bare fp32": 400.0, "bare bf16": 300.0, "ddrs bf16": 1324.0, "ddrs fp32": 1425.0}
    by_arm = {limit.arm: limit for limit in memory_limits({**peaks, "toolbox": 9000.0})}
    assert by_arm["ddrs bf16"] == Limit("ddrs bf16", 1324.0, "bare bf16", 300.0)
    assert {arm: limit.met for arm, limit in by_arm.items()} == {
        "ddrs bf16": True,
        "ddrs fp32": False,
    }


def test_growth_is_the_slope_between_the_ends() -> None:
    assert growth_per_vote([(1000, 700.0), (100, 250.0), (400, 300.0)]) == 0.5


def test_what_was_not_measured_is_named_with_its_reason() -> None:
    arm = {"batch": 8, "rates": [10.0, 30.0, 20.0], "set_up_seconds": 1.0, "peak_mb": 500.0}
    case = {
        "title": "a network",
        "arms": {"ddrs fp32": {**arm, "note": "a note"}},
        "missing": {"toolbox": "No module named 'art'"},
        "notes": [],
        "ratios": [],
        "memory": [],
        "growth": [
            {"arm": "toolbox", "n": 1000, "peak_mb": 1124.0},
            {"arm": "toolbox", "n": 3000, "peak_mb": 3124.0},
        ],
    }
    text = tables({"case": case})
    assert "- not measured: toolbox, a network: No module named 'art'" in text
    assert "- a note" in text
    assert "+1,024.0 |" in text  # KiB per vote
    assert f"{(3124 + 97_000) / 1024:.1f} |" in text  # GiB at n = 100 000


def test_the_memory_table_has_a_row_a_size_and_ratios_only_where_both_were_measured():
    from benchmarks.report import memory_tables

    size = {
        "entries": 10_000,
        "open_seconds": 0.5,
        "resident_mib": 400.0,
        "file_mib": 40.0,
        "lookup_ms": [1.0, 2.0, 9.0],
        "resolve_ms": [2.0, 4.0, 8.0],
        "resolve_many_ms": 0.5,
        "list_ms": [200.0],
        "audit": {"seconds": 3.0},
    }
    report = {
        "sizes": {"10000": size, "1000000": {**size, "entries": 1_000_000, "list_ms": []}},
        "writers": {"sqlite": {"1": 400.0, "2": 300.0, "4": 200.0}},
    }
    lines = memory_tables(report).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line]
    assert cells[2][0] == "10,000"
    assert cells[2][4:6] == ["2.0", "4.0"]
    assert cells[2][8:10] == ["200", "50.0"]
    assert cells[3][8:10] == ["-", "-"]
    assert cells[-1] == ["sqlite", "400", "300", "200"]
