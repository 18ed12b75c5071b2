import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

import ddrs
from ddrs.errors import ConfigurationError, DataError, InputError
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.smoothing.calibrating import sigma_grid
from ddrs.smoothing.calibration import (
    MOST_EXCESS,
    Calibration,
    content_digest,
    excess,
    last_allowed,
)
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs

EDGE = 0.71


class Far(nn.Module):
    """Class 0 or 1 by the sign of the first feature, and class 2 once the noise is large."""

    def __init__(self, edge: float = EDGE) -> None:
        super().__init__()
        self.edge = nn.Parameter(torch.tensor(edge))

    def forward(self, x):
        size = x[:, 1:].square().mean(dim=1).sqrt()
        near = torch.stack([x[:, 0], -x[:, 0]], dim=1)
        return torch.cat([near, 1e6 * (size - self.edge)[:, None]], dim=1)


def inputs(count=60):
    x = torch.zeros(count, 400)
    x[:, 0] = torch.linspace(-20, 20, count)
    return x


def calibrated(**changes):
    given = {"sigma": 0.25, "seed": 0} | changes
    return ddrs.calibrate(Far(), 3, inputs(), **given)


def test_the_limit_is_the_last_sigma_before_one_class_takes_all():
    found = calibrated()
    grid = np.array(found.models[0].grid)
    assert found.high == grid[grid < EDGE].max() > 0.5
    assert found.models[0].interval == (found.high, found.high)  # all inputs agree
    assert found.cost == grid.size * 8 * 60
    assert np.allclose(found.models[0].shares[-1], [0, 0, 1])


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]], [0, 0.4, 0.8]),
        ([[0.1, 0.9], [1.0, 0.0], [0.05, 0.95]], [0, 1.0, 0.5]),
        ([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]], [1, 1, 1]),
    ],
)
def test_the_excess_by_hand(shares, expected):
    assert excess(np.array(shares), 0) == pytest.approx(np.array(expected))


def test_what_is_allowed_is_an_interval_from_the_training_noise_on():
    q = (1 + MOST_EXCESS) / 2
    below, above = [q - 0.01, 1.01 - q], [q + 0.01, 0.99 - q]
    even = [0.5, 0.5]
    assert last_allowed(np.array([even, below, above, even]), 0) == 1
    assert last_allowed(np.array([above, even, below, above]), 1) == 2  # nothing below is limited
    assert last_allowed(np.array([[1.0, 0.0], [1.0, 0.0]]), 0) == 0


def test_the_grid_rises_through_the_training_noise_to_the_top():
    grid = sigma_grid(0.25, 0.1, 1.1)
    assert 0.25 in grid
    assert grid[-1] == 1.1
    assert min(grid) >= 0.1
    assert (np.diff(grid) > 0).all()
    assert sigma_grid(0.5)[0] == 0.5
    assert sigma_grid(0.5)[-1] == 2.0


def test_the_bootstrap_covers_the_limit_of_many_inputs():
    # Inputs collapse one by one between 0.3 and 1: more than half of them have above 0.65.
    class Gradual(Far):
        def forward(self, x):
            size = x[:, 2:].square().mean(dim=1).sqrt()
            near = torch.stack([x[:, 0], -x[:, 0]], dim=1)
            return torch.cat([near, 1e6 * (size - x[:, 1])[:, None]], dim=1)

    def found(count, seed):
        x = torch.zeros(count, 400)
        rng = np.random.default_rng(seed)
        x[:, 0] = torch.from_numpy(rng.choice([-20.0, 20.0], count))
        x[:, 1] = torch.from_numpy(rng.uniform(0.3, 1.0, count)) - 0.0
        (one,) = ddrs.calibrate(Gradual(), 3, x, sigma=0.25, votes=2, seed=seed).models
        return one

    many = found(1500, 99).high
    ends = [found(40, seed).interval for seed in range(8)]
    # 95 % intervals: fewer than 6 of 8 have a chance below 0.001, were it 0.95.
    assert sum(low <= many <= high for low, high in ends) >= 6
    assert any(low < high for low, high in ends)


def test_a_saved_calibration_comes_back_and_a_changed_one_is_refused(tmp_path):
    found, file = calibrated(), tmp_path / "c.json"
    found.save(file)
    assert Calibration.load(file) == found
    content = json.loads(file.read_text())
    content["limits"][0]["high"] = content["models"][0]["high"] = content["models"][0]["grid"][-1]
    for changed in (content, json.loads(file.read_text()) | {"votes": 9}, {}):
        file.write_text(json.dumps(changed))
        with pytest.raises(DataError, match="is not a calibration"):
            Calibration.load(file)


def test_its_digest_is_of_what_was_seen_not_of_the_time():
    assert calibrated().digest == calibrated().digest
    assert calibrated().digest != calibrated(seed=1).digest


@pytest.mark.parametrize(
    "policy",
    [
        ddrs.SearchSigma(0.25, votes=200, calibration=calibrated()),
        ddrs.GradientSigma(0.25, steps=30, lr=0.1, calibration=calibrated()),
        ddrs.SearchSigma(0.9, votes=200, calibration=calibrated()),  # starts above the limit
    ],
    ids=["search", "gradient", "start"],
)
def test_a_policy_stays_below_the_limit(policy):
    base, limit = NoisyClassifier(Far(), 3, Gaussian()), policy.calibration.high
    with frozen(base.model):
        choice = policy.choose(base, Inputs.of(inputs(6), 1), np.array([1, 1, 1, 0, 0, 0]))
    assert (choice.sigma <= limit).all()
    assert (choice.votes <= policy.cost).all()


def test_several_classifiers_each_have_their_own_limit():
    found = ddrs.calibrate([Far(), Far(0.4)], 3, inputs(), sigma=[0.25, 0.2], seed=0)
    first, second = (one.high for one in found.models)
    assert second < 0.4 < first
    policy = ddrs.SearchSigma(0.25, votes=200, calibration=found)
    smoothed = ddrs.SmoothedClassifier([Far(), Far(0.4)], 3, sigma=policy, n=500, seed=0)
    digests = {one.model_digest: one.high for one in found.models}
    for certificate in smoothed.certify(inputs(8)):
        assert certificate.sigma <= digests[certificate.model_digest]


@pytest.mark.parametrize(
    ("model", "noise", "message"),
    [(Far(0.6), Gaussian(), "other networks"), (Far(), Uniform(), "made with gaussian noise")],
)
def test_another_network_or_noise_is_refused(model, noise, message):
    policy = ddrs.SearchSigma(0.25, calibration=calibrated())
    with pytest.raises(ConfigurationError, match=message):
        ddrs.SmoothedClassifier(model, 3, sigma=policy, noise=noise)


def test_what_can_never_work_is_refused():
    with pytest.raises(InputError, match="no inputs"):
        ddrs.calibrate(Far(), 3, torch.zeros(0, 400), sigma=0.25)
    with pytest.raises(ConfigurationError, match="one sigma for each"):
        calibrated(sigma=[0.25, 0.5])
    with pytest.raises(ConfigurationError, match="votes"):
        calibrated(votes=0)


def test_a_calibration_of_no_model_is_refused(tmp_path):
    empty = replace(calibrated(), models=(), limits=())
    empty = replace(empty, digest=content_digest(asdict(empty)))
    empty.save(tmp_path / "empty.json")
    with pytest.raises(DataError, match="it is of no model"):
        Calibration.load(tmp_path / "empty.json")


@pytest.mark.filterwarnings("error")
def test_shares_beyond_all_sums_are_refused_without_a_warning(tmp_path):
    found = calibrated()
    one = replace(found.models[0], shares=((1e308,) * 3,) * len(found.models[0].grid))
    replace(found, models=(one,)).save(tmp_path / "huge.json")
    with pytest.raises(DataError, match="do not add up to 1"):
        Calibration.load(tmp_path / "huge.json")
