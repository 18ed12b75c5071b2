"""`Cascade` on classifiers whose answers are known in closed form."""

import numpy as np
import pytest
import torch
from scipy import stats

from ddrs import ABSTAIN, Cascade, Uniform, calibrate
from ddrs.errors import ConfigurationError, ModelError
from ddrs.votes.requests import Inputs
from support.classifiers import Halfspace

ALPHA, INPUTS = 0.3, 200


def inputs(count: int, place: float = 0.0) -> torch.Tensor:
    """Points that differ only where no classifier looks, so each has votes of its own."""
    x = torch.zeros(count, 2, dtype=torch.float64)
    x[:, 0], x[:, 1] = place, torch.arange(count)
    return x


def halfspaces(*levels: tuple[float, float, float]):
    """Levels of (distance to the boundary at the origin, sigma, p0)."""
    return [(Halfspace([1.0, 0.0], distance), sigma, p0) for distance, sigma, p0 in levels]


@pytest.mark.parametrize(
    ("bound", "question"),
    [
        ("one-sided", {}),
        ("two-sided", {}),
        ("one-sided", {"at_radii": (0.1, 0.21)}),
        ("two-sided", {"radius_tolerance": 0.15}),
    ],
)
def test_no_more_than_alpha_of_the_certificates_claim_too_much(bound, question) -> None:
    """Level 0 passes within 0.25 and level 1 answers within 0.2 (halfspaces: exact distances).

    If each certificate is wrong with probability alpha, more than `limit` of them are with
    probability below 1e-6 (binomial).
    """
    p0 = float(stats.norm.cdf(0.25))
    cascade = Cascade(
        halfspaces((0.0, 1.0, p0), (0.2, 0.5, 0.5)), 2, n0=20, n=400, alpha=ALPHA, bound=bound,
        seed=1,
    )  # fmt: skip
    found = cascade.certify(inputs(INPUTS), **question)
    wrong = [c for c in found if c.radius > 0.2 or c.prediction == 1]
    assert len(wrong) <= stats.binom.isf(1e-6, INPUTS, ALPHA)
    assert wrong or question  # alpha is spent, but for what looks take as a reserve
    assert sum(c.radius > 0 and len(c.parts) == 2 for c in found) > INPUTS / 4


def test_a_sure_certificate_is_just_below_the_distance() -> None:
    cascade = Cascade(halfspaces((0.0, 1.0, 0.7), (0.4, 0.5, 0.5)), 2, n0=500, n=200_000, seed=0)
    (one,) = cascade.certify(inputs(1))
    assert one.prediction == 0
    assert 0.385 < one.radius < 0.4  # level 0 passes within 0.524
    assert [(p.role, p.p0) for p in one.parts] == [("answer", 0.5), ("pass", 0.7)]
    assert sum(p.alpha for p in one.parts) == pytest.approx(0.001)


def test_in_l1_too() -> None:
    levels = halfspaces((0.0, 1.0, 0.7), (0.3, 0.5, 0.5))
    (one,) = Cascade(levels, 2, noise=Uniform(), n0=500, n=100_000, seed=0).certify(inputs(1))
    assert (one.prediction, one.norm) == (0, "l1")
    assert 0.285 < one.radius < 0.3  # P = (1 + x / lambda) / 2


def test_a_level_that_answers_the_other_class_is_not_passed() -> None:
    levels = halfspaces((-0.5, 1.0, 0.6), (0.4, 0.5, 0.5))
    (one,) = Cascade(levels, 2, n0=500, n=20_000, seed=0).certify(inputs(1))
    assert (one.prediction, one.sigma, len(one.parts)) == (1, 1.0, 1)
    assert one.alpha == 0.001  # all of it: the levels after it are not asked
    assert one.votes == 2 * 500 + 20_000
    assert one.radius < 0.5 - stats.norm.ppf(0.6)


def test_nothing_is_answered_where_no_class_is_above_p0() -> None:
    levels = halfspaces((0.1, 1.0, 0.9), (0.1, 0.5, 0.9))
    cascade = Cascade(levels, 2, n0=100, n=2000, seed=0)
    (one,) = cascade.certify(inputs(1))
    assert (one.prediction, one.radius, one.outcome) == (ABSTAIN, 0.0, "abstained")
    assert cascade.predict(inputs(1)) == [ABSTAIN]


def test_no_two_stages_share_a_stream(monkeypatch) -> None:
    made = []
    stream = Inputs.stream
    monkeypatch.setattr(
        Inputs, "stream", lambda self, row, stage: made.append(stage) or stream(self, row, stage)
    )
    network = Halfspace([1.0, 0.0], 0.1)
    Cascade([(network, 1.0, 0.8), (network, 0.1, 0.5)], 2, n0=50, n=200, seed=0).certify(inputs(1))
    stages = [stage for stage in made if stage != "independence"]
    assert len(stages) == len(set(stages)) == 4
    assert not {"selection", "estimation", "prediction"} & set(stages)


def test_settled_levels_stop_alone() -> None:
    levels = halfspaces((0.0, 1.0, 0.9), (0.2, 0.5, 0.5))
    cascade = Cascade(levels, 2, n0=200, n=100_000, seed=0)
    (one,) = cascade.certify(inputs(1), at_radii=(0.14,))
    answer, passed = one.parts
    assert passed.n < answer.n / 5  # 1.28 to spare against 0.06
    assert one.radius >= 0.14


def test_votes_that_can_prove_nothing_are_refused() -> None:
    network = Halfspace([1.0, 0.0])
    with pytest.raises(ConfigurationError, match="certify nothing"):
        Cascade([(network, 1.0, 0.99)], 2, n=100).certify(inputs(1))
    for levels in ([], [(network, 0.5)], [(network, 0.5, 0.4)], [(network, np.inf, 0.5)]):
        with pytest.raises(ConfigurationError):
            Cascade(levels, 2)


def test_the_user_may_vouch_for_a_network_of_a_cascade():
    model = Halfspace([1.0, 0.0])
    model.tool = (each for each in ())  # has no digest
    with pytest.raises(ModelError, match="tool of the model"):
        Cascade([(model, 0.5, 0.6), (model, 0.25, 0.5)], 2)
    levels = [(model, 0.5, 0.6), (model, 0.25, 0.5)]
    one, other = (Cascade(levels, 2, n=100, identity=name) for name in ("one", "other"))
    assert one.digest != other.digest
    assert one.certify(torch.ones(1, 2))[0].prediction == 0
    found = calibrate(model, 2, torch.randn(50, 2), sigma=0.5, seed=0, identity="one")
    assert found.models[0].model_digest == one.base.by_level[0].digest
