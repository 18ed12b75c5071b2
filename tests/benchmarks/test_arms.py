"""How the benchmarks choose what the bare model is given."""

from benchmarks.arms import best_of
from benchmarks.cases import CASES, LONGEST_CALL


def test_the_best_of_a_first_look_is_measured_again() -> None:
    looks: list[str] = []
    rates = {"a": [5.0, 1.0], "b": [4.0, 4.0], "c": [3.0, 9.0], "d": [1.0, 9.0]}

    def rate(name: str) -> float:
        looks.append(name)
        return rates[name][looks.count(name) - 1]

    assert best_of("abcd", rate, finalists=2) == ("b", 4.0)  # "a" was only lucky
    assert looks == ["a", "b", "c", "d", "a", "b"]


def test_a_call_fills_a_window_and_no_more_than_the_case_asks_for() -> None:
    case = CASES["resnet20"]
    assert case.votes_per_call(1e9) == case.n
    assert case.votes_per_call(100.0) == int(100 * case.window)
    assert case.votes_per_call(10.0) == case.n0
    assert case.votes_per_call(0.99 * 2 * case.n0 / LONGEST_CALL) is None


def test_a_quick_run_has_the_same_arms_but_the_slow_ones() -> None:
    for case in CASES.values():
        assert set(case.quick().arms) == set(case.arms) - set(case.slow)
        assert case.quick().rounds < case.rounds
