from math import nextafter

import pytest

from ddrs.evaluation.metrics import average_certified_radius, certified_accuracy
from ddrs.evaluation.worth import (
    answer_cells,
    answer_shares,
    constant_credits,
    credits,
    discounted_figures,
    one_answer,
    wrong_share,
)
from support.certified import certified

START = 0.25


def rows(*given):
    """(prediction, label, sigma, model, radius) of each input."""
    return [
        certified(index=i, prediction=p, label=y, correct=p == y, sigma=s, model_digest=m, radius=r)
        for i, (p, y, s, m, r) in enumerate(given)
    ]


def test_constant_classifiers_get_nothing():
    # A classifier for each class, which always answers it; and one for all inputs.
    each = rows(*((c, c, 1.0, f"m{c}", 0.75) for c in range(3) for _ in range(4)))
    one = rows(*((1, c % 3, 1.0, "m", 0.75) for c in range(9)))
    for found in (each, one):
        assert discounted_figures(found, [0.5], START) == {
            "discounted": {"0.50": 0.0},
            "discounted_acr": 0.0,
        }


def test_a_fixed_sigma_keeps_every_figure():
    found = rows((1, 1, 1.0, "m", 0.75), (1, 0, 1.0, "m", 0.5), (2, 2, 1.0, "m", 0.3))
    for start in (None, 1.0, nextafter(1.0, 2)):
        made = discounted_figures(found, [0.0, 0.5], start)
        assert made["discounted"]["0.50"] == certified_accuracy(found, 0.5)
        assert made["discounted_acr"] == pytest.approx(average_certified_radius(found), rel=1e-12)


def test_the_credit_by_hand():
    answers = [0, 0, 1, 0, 1, 1, 2, 0]
    cells = ["a"] * 4 + ["b"] * 2 + ["c", "d"]
    above = [True] * 7 + [False]
    # q(0) = 1/2, q(1) = 3/8; in a: s = 2/3 for 0 and 0 for 1; in b: s = 1; c is alone.
    expected = [2 / 3, 2 / 3, 1, 2 / 3, 0, 0, 0, 1]
    assert constant_credits(answers, cells, above) == pytest.approx(expected)


def test_cells_are_half_octaves_above_the_start():
    sigmas = [0.1, 0.25, 0.26, 0.35, 0.36, 0.5]
    found = answer_cells(rows(*((1, 1, s, "m", 0.5) for s in sigmas)), START)
    assert [one.answers for one in found] == [{1: 2}, {1: 2}, {1: 2}]
    assert [one.low for one in found] == pytest.approx([0, 0.25, 0.25 * 2**0.5])
    assert [one.high for one in found] == pytest.approx([0.25, 0.25 * 2**0.5, 0.5])
    assert credits(rows(*((1, 1, s, "m", 0.5) for s in sigmas)), START).tolist() == [1, 1, *[0] * 4]


def test_no_label_moves_a_credit():
    given = [(p, p, s, "m", 0.5) for p in (0, 1, 1, 2) for s in (0.2, 0.4)]
    other = [(p, 0, s, m, r) for p, _, s, m, r in given]
    assert credits(rows(*given), START).tolist() == credits(rows(*other), START).tolist()


def test_shares_by_hand():
    found = rows(
        (1, 1, 0.25, "m", 0.5),
        (2, 1, 0.25, "m", 0.5),
        (-1, 1, 0.25, "m", 0),
        (2, 0, 0.25, "m", 0.1),
    )
    assert wrong_share(found, [0, 0.5, 0.6]) == {"0.00": 0.5, "0.50": 0.25, "0.60": 0.0}
    assert answer_shares(found) == {-1: 0.25, 1: 0.25, 2: 0.5}


def test_a_constant_answer_is_found_and_a_common_label_is_not_one():
    constant = rows(*((1, c % 4, 0.25, "m", 0.5) for c in range(8)))
    found = one_answer(constant)
    assert (found.answer, found.share, found.labels) == (1, 1.0, 0.25)
    assert one_answer(rows(*((1, 1, 0.25, "m", 0.5) for _ in range(8)))) is None
    assert one_answer(rows((-1, 1, 0.25, "m", 0.0))) is None
