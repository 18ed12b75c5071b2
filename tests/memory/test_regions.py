import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddrs.errors import StoreError
from ddrs.memory.geometry import Distance
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Neighbour, Resolution, decide, deepest_cover
from ddrs.proof.certificate import ABSTAIN
from support.memory_reference import Reference, check

EXACT = settings(max_examples=120, deadline=None, derandomize=True)


def play(steps, norm):
    """Every step of a memory against the reference, and the audit at the end."""
    reference = Reference(norm)
    outcomes = set()
    with Memory("memory://", norm) as memory:
        for x, prediction, radius in steps:
            expected = reference.expect(x, prediction, radius)
            answer = memory.resolve(np.array(x, dtype=np.float64), prediction, radius)
            check(answer, expected)
            reference.record(x, answer)
            outcomes.add(answer.outcome)
        assert len(memory) == len(reference.entries)
        assert memory.audit().ok
    return outcomes


@st.composite
def lattice(draw):
    """Balls on a small lattice: duplicates, touching and nested balls come by themselves."""
    dimension = draw(st.integers(1, 8))
    # The last two scales make squares underflow and overflow float64.
    scale = draw(st.sampled_from([1.0, 0.125, 3 * 2.0**-20, 2.0**-545, 2.0**515]))
    side = 6 if dimension == 1 else 3 if dimension == 2 else 1
    steps = draw(
        st.lists(
            st.tuples(
                st.lists(
                    st.integers(-side, side).map(float), min_size=dimension, max_size=dimension
                ),
                st.integers(ABSTAIN, 2),
                st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]),
            ),
            min_size=1,
            max_size=24,
        )
    )
    return [([v * scale for v in x], c, r * scale) for x, c, r in steps]


@st.composite
def nearly_touching(draw):
    """Arbitrary floats, and radii within a step or two of what makes two balls touch."""
    dimension = draw(st.integers(1, 8))
    value = (st.floats(-4, 4) | st.floats(-1e20, 1e20)).map(lambda v: v if abs(v) > 1e-150 else 0.0)
    steps = []
    for _ in range(draw(st.integers(2, 14))):
        x = draw(st.lists(value, min_size=dimension, max_size=dimension))
        if steps and draw(st.booleans()):
            other, _, reach = steps[draw(st.integers(0, len(steps) - 1))]
            radius = abs(math.dist(x, other) - draw(st.sampled_from([0.0, reach])))
            radius = max(0.0, math.nextafter(radius, draw(st.sampled_from([0.0, radius, 1e300]))))
        else:
            radius = draw(st.floats(0, 6) | st.floats(0, 1e20))
        steps.append((x, draw(st.integers(ABSTAIN, 2)), radius))
    return steps


@EXACT
@given(lattice(), st.sampled_from(["l1", "l2"]))
def test_random_lattice_regions_follow_the_rule_exactly(steps, norm):
    play(steps, norm)


@EXACT
@given(nearly_touching(), st.sampled_from(["l1", "l2"]))
def test_random_float_regions_follow_the_rule_exactly(steps, norm):
    play(steps, norm)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_long_history_reaches_every_outcome(norm):
    rng = np.random.default_rng(5)
    xs = rng.normal(size=(120, 2)).tolist()
    classes, radii = rng.integers(-1, 3, 120).tolist(), rng.exponential(0.25, 120).tolist()
    steps = list(zip(xs, classes, radii, strict=True))
    assert play(steps, norm) == {"own", "inherited", "trimmed", "abstained"}


def test_figure_2_middle_a_new_ball_that_overlaps_another_class_shrinks_until_they_touch():
    with Memory("memory://") as memory:
        memory.resolve([0.0, 0.0], 0, 2.0)
        assert memory.resolve([3.0, 4.0], 1, 4.0) == Resolution(1, 3.0, "trimmed")
        assert memory.audit().ok


def test_figure_2_right_a_new_input_inside_another_class_takes_it_and_the_largest_inner_ball():
    with Memory("memory://") as memory:
        memory.resolve([0.0, 0.0], 0, 6.0)
        assert memory.resolve([3.0, 4.0], 1, 4.0) == Resolution(0, 1.0, "inherited")
        assert memory.audit().ok


def test_figure_2_left_disjoint_balls_are_stored_as_they_come():
    with Memory("memory://") as memory:
        memory.resolve([0.0, 0.0], 0, 2.0)
        assert memory.resolve([3.0, 4.0], 1, 3.0) == Resolution(1, 3.0, "own")


def ball(position, distance, prediction, radius, norm="l2"):
    near = Distance(np.array([float(distance)]), np.zeros(1), norm, 0.0, math.inf)
    return Neighbour(position, prediction, radius, near)


def test_inside_the_same_class_the_own_radius_is_kept_where_it_is_larger():
    assert decide(0, 5.0, [ball(0, 1, 0, 2.0)]) == Resolution(0, 5.0, "own")


def test_inside_the_same_class_the_inherited_radius_is_kept_where_it_is_larger():
    assert decide(0, 0.5, [ball(0, 1, 0, 2.0)]) == Resolution(0, 1.0, "inherited")


def test_inside_the_same_class_own_wins_a_tie_with_inherited():
    assert decide(0, 1.0, [ball(0, 1, 0, 2.0)]) == Resolution(0, 1.0, "own")


def test_inside_the_same_class_a_larger_own_radius_is_trimmed_by_another_class():
    neighbours = [ball(0, 1, 0, 2.0), ball(1, 4, 1, 1.0)]
    assert decide(0, 5.0, neighbours) == Resolution(0, 3.0, "trimmed")


def test_inside_the_same_class_trimmed_down_to_the_inherited_radius_counts_as_inherited():
    neighbours = [ball(0, 1, 0, 2.0), ball(1, -2, 1, 1.0)]
    assert decide(0, 5.0, neighbours) == Resolution(0, 1.0, "inherited")


@pytest.mark.parametrize("claimed", [1, ABSTAIN])
def test_inside_another_class_or_abstaining_the_deepest_ball_is_inherited(claimed):
    neighbours = [ball(0, 1, 0, 2.0), ball(1, 3, 0, 5.0), ball(2, 0.5, 0, 1.0)]
    assert decide(claimed, 9.0, neighbours) == Resolution(0, 2.0, "inherited")


def test_on_the_rim_of_another_class_the_candidate_keeps_its_class_with_radius_zero():
    assert decide(1, 1.0, [ball(0, 2, 0, 2.0)]) == Resolution(1, 0.0, "trimmed")


def test_abstaining_outside_every_ball_abstains():
    assert decide(ABSTAIN, 0.0, [ball(0, 2, 0, 2.0)]) == Resolution(ABSTAIN, 0.0, "abstained")


def test_an_entry_of_radius_zero_is_never_covered_by_another_class():
    assert decide(1, 9.0, [ball(0, 3, 0, 0.0)]) == Resolution(1, 3.0, "trimmed")


def test_balls_of_two_classes_around_the_candidate_are_an_altered_store():
    with pytest.raises(StoreError, match=r"regions 1 and 2 .* altered"):
        decide(0, 1.0, [ball(0, 1, 0, 2.0), ball(1, 1, 1, 2.0)])


def test_an_inherited_radius_that_exceeds_the_own_by_less_than_a_step_is_not_own():
    just_below_one = math.nextafter(1.0, 0.0)
    answer = decide(0, just_below_one, [ball(0, 1e-300, 0, 1.0)])
    assert answer == Resolution(0, just_below_one, "inherited")


def test_deepest_cover_prefers_room_then_age():
    neighbours = [ball(0, 2, 0, 2.0), ball(1, 1, 0, 2.0), ball(2, -2, 0, 3.0), ball(3, 0.5, 0, 1.0)]
    cover = deepest_cover(neighbours)
    assert cover is not None
    assert cover.position == 1
    assert deepest_cover(neighbours[:1]) is None
