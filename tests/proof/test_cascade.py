"""The theorem of docs/cascade.md against brute force, and what a naive split of alpha does."""

import dataclasses
import itertools
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.proof.bounds import lower_bound, upper_bound
from ddrs.proof.cascade import best_level, plan, proving
from ddrs.proof.certificate import Evidence
from ddrs.proof.certify import proved_radius

LEVEL = Evidence(
    role="answer", sigma=0.5, norm="l2", bound="one-sided", p_lower=0.0, p_upper=1.0, count=0,
    runner_up=0, n=1000, alpha=0.1, model_digest="m", p0=0.6,
)  # fmt: skip


def level(count: int, runner_up: int, **changes: object) -> Evidence:
    return dataclasses.replace(LEVEL, count=count, runner_up=runner_up, **changes)  # type: ignore[arg-type]


def answer_of(scores: list[tuple[float, float]], thresholds: tuple[int, ...]) -> str:
    """The rule to the letter, of the scores of the class and of the largest other."""
    for (own, other), threshold in zip(scores, thresholds, strict=True):
        if own > threshold or other > threshold:
            return "A" if own > threshold else "B"
    return "abstain"


def always_a(scores: list[tuple[int, int]], thresholds: tuple[int, ...], d: float) -> bool:
    """Whether every shift of at most d that leaves probabilities possible keeps the answer A.

    The rule changes at thresholds only, so the largest shifts and none are all that need a trial.
    Two classes of one level have a sum of scores of at most 0.
    """
    moves = list(itertools.product((-d, 0.0, d), repeat=2))
    for shift in itertools.product(moves, repeat=len(scores)):
        moved = [(a + x, b + y) for (a, b), (x, y) in zip(scores, shift, strict=True)]
        if all(a + b <= 0 for a, b in moved) and answer_of(moved, thresholds) != "A":
            return False
    return True


levels = st.lists(
    st.tuples(st.integers(-3, 4), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=3
)


@given(levels)
def test_the_radius_is_the_distance_to_another_answer_in_the_space_of_scores(drawn) -> None:
    scores = [(own, -own - gap) for own, gap, _ in drawn]
    thresholds = tuple(t for *_, t in drawn)
    answers = [own - t for (own, _), t in zip(scores, thresholds, strict=True)]
    passes = [t - other for (_, other), t in zip(scores, thresholds, strict=True)]
    _, radius = best_level(answers, passes)
    assert radius == max(0, int(radius))
    assert radius == 0 or always_a(scores, thresholds, radius - 0.5)
    assert not always_a(scores, thresholds, radius + 0.5)


def test_a_level_that_gives_the_same_class_does_no_harm() -> None:
    assert best_level([0.1, 0.8], [1.0, 0.0]) == (1, 0.8)  # before
    assert best_level([0.8, 0.1], [1.0, 0.0]) == (0, 0.8)  # after
    assert best_level([0.1, 0.8], [0.3, 0.0]) == (1, 0.3)
    assert best_level([0.0, 0.0], [1.0, 1.0]) == (1, 0.0)


def line_probabilities(edges, classes, centre, sigma, noise, count):
    """Probability of each class at points of a line that is cut at `edges`, in closed form."""
    law = stats.norm(scale=sigma) if noise == "l2" else stats.uniform(-sigma, 2 * sigma)
    inner = law.cdf(edges[None, :] - centre[:, None])
    masses = np.diff(np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
    found = np.zeros((len(centre), count))
    for mass, label in zip(masses.T, classes, strict=True):
        found[:, label] += mass
    return found


@pytest.mark.parametrize("noise", [Gaussian(), Uniform()], ids=lambda noise: noise.norm)
def test_the_radius_never_exceeds_the_distance_to_another_answer_on_a_line(noise) -> None:
    rng = np.random.default_rng(2)
    points = np.linspace(-2, 2, 1601)  # 0.0025 apart
    ratios = []
    for _ in range(150):
        sigmas, p0 = np.sort(rng.uniform(0.1, 1, 3))[::-1], rng.uniform(0.5, 0.8, 3)
        answers = np.full(len(points), -1)
        at_zero = []
        for sigma, threshold in zip(sigmas, p0, strict=True):
            edges, labels = np.sort(rng.normal(size=3)), rng.integers(0, 3, 4)
            p = line_probabilities(edges, labels, points, sigma, noise.norm, 3)
            above = (p > threshold).any(axis=1)
            answers = np.where((answers < 0) & above, p.argmax(axis=1), answers)
            at_zero.append(p[800])
        selected = answers[800]
        if selected < 0:
            continue
        scale = [(s, t) for s, t in zip(sigmas, p0, strict=True)]
        _, radius = best_level(
            [2 * noise.radius(s, p[selected], t) for p, (s, t) in zip(at_zero, scale, strict=True)],
            [
                2 * noise.radius(s, t, np.delete(p, selected).max())
                for p, (s, t) in zip(at_zero, scale, strict=True)
            ],
        )
        changed = np.abs(points[answers != selected]).min(initial=inf)
        assert radius <= changed
        ratios.append(radius / changed)
    assert len(ratios) > 60
    assert max(ratios) > 0.9  # and it is not far below where a class is a half-line


def test_one_sided_bounds_are_on_the_side_of_the_role() -> None:
    passed, answer = level(500, 300, role="pass"), level(800, 150, p0=0.5, sigma=0.25)
    pieces = proving([passed, answer])
    assert [piece.role for piece in pieces] == ["answer", "pass"]
    s = stats.norm.ppf
    assert proved_radius(answer) == pytest.approx(0.25 * s(stats.beta.ppf(0.1, 800, 201)))
    expected = 0.5 * (s(0.6) - s(stats.beta.ppf(0.9, 301, 700)))
    assert proved_radius(pieces[1]) == pytest.approx(expected)
    assert passed.interval == (0.0, upper_bound(300, 1000, 0.1))
    # A level that was to pass does not answer: its bound was spent on the others.
    assert [p.sigma for p in proving([level(990, 5, role="pass"), answer])] == [0.25, 0.5]


def test_with_two_sided_bounds_any_level_may_answer() -> None:
    surprising = level(990, 5, role="pass", bound="two-sided")
    (piece,) = proving([surprising, level(800, 150, bound="two-sided", sigma=0.25)])
    assert (piece.role, piece.count) == ("answer", 990)
    assert piece.interval[0] == lower_bound(990, 1000, 0.05)


def test_uniform_noise_is_linear_in_the_probability() -> None:
    one = level(900, 50, norm="l1", bound="two-sided")
    low, high = one.interval
    assert proved_radius(one) == pytest.approx(2 * 0.5 * (low - 0.6))
    passing = dataclasses.replace(one, role="pass")
    assert proved_radius(passing) == pytest.approx(2 * 0.5 * (0.6 - high))


def test_the_plan_is_the_level_with_the_largest_radius_to_be_expected() -> None:
    sigmas, p0 = (1.0, 0.25), (0.6, 0.5)
    one = plan(np.array([[95, 5, 0], [99, 1, 0]]), sigmas, p0, Gaussian())
    assert (one.selected, one.depth) == (0, 1)
    one = plan(np.array([[35, 34, 31], [2, 97, 1]]), sigmas, p0, Gaussian())
    assert (one.selected, one.depth) == (1, 2)
    one = plan(np.array([[35, 34, 31], [30, 37, 33]]), sigmas, p0, Gaussian())
    assert (one.selected, one.depth) == (1, 1)  # none: the most votes of all


ALPHA, TRIALS, N = 0.4, 2000, 400


def naive(counts: np.ndarray) -> bool:
    """Whether the published split claims A: alpha / k for level k, halting where votes decide."""
    return any(
        lower_bound(int(count), N, ALPHA / k) > 0.5 for k, count in enumerate(counts, start=1)
    )


def ours(first: np.ndarray, counts: np.ndarray) -> bool:
    votes = np.stack([first, 50 - first], axis=1)
    depth = plan(votes, (1.0, 0.5), (0.5, 0.5), Gaussian()).depth
    found = [
        level(
            int(count), N - int(count), n=N, sigma=1 / k, alpha=ALPHA / depth, p0=0.5,
            role="answer" if k == depth else "pass",
        )
        for k, count in enumerate(counts[:depth], start=1)
    ]  # fmt: skip
    # The other class is exactly at 1/2 too, so that a passed level can only be passed by mistake.
    return bool(min(map(proved_radius, proving(found))) > 0)


def test_a_split_of_alpha_by_the_level_where_votes_halt_fails_and_ours_does_not() -> None:
    """Two levels, each class exactly at p0 = 1/2: the cascade abstains, so every claim is false.

    A method that keeps its word claims in at most alpha of the trials; it exceeds `limit` with
    probability below 1e-6 (binomial).
    """
    rng = np.random.default_rng(5)
    limit = stats.binom.isf(1e-6, TRIALS, ALPHA)
    counts, first = rng.binomial(N, 0.5, (TRIALS, 2)), rng.binomial(50, 0.5, (TRIALS, 2))
    assert sum(map(naive, counts)) > limit
    assert 0 < sum(map(ours, first, counts)) <= limit
