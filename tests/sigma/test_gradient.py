import numpy as np
import pytest
import torch
from scipy import stats

from ddrs.errors import ConfigurationError
from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import NOISES, Gaussian
from ddrs.sigma.gradient import CHECK_VOTES, GradientSigma
from ddrs.sigma.objective import CLAMP, radius_objective, radius_slope
from ddrs.sigma.policy import estimated_radius
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from sigma.contract import INITIAL, PerInputContract, inputs_near_boundaries
from support.classifiers import Halfspace, Normalised, Returns, Table


class TestGradientSigma(PerInputContract):
    tolerance = 1e-9  # sums over a batch may be ordered otherwise

    def policy(self):
        return GradientSigma(INITIAL, steps=20, lr=0.02, n=2)


class TestOneDrawAStep(PerInputContract):
    tolerance = 1e-9

    def policy(self):
        return GradientSigma(INITIAL, steps=30, lr=0.02, n=1)


@torch.no_grad()
def objective(model, x, draws, sigma, selected, noise):
    """R(sigma) written out from Equation 2 in NumPy and SciPy, one input at a time."""
    values = []
    for point, noises, s, c in zip(x, draws, sigma, selected, strict=True):
        scores = model(point + s * noises).numpy()
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        psi = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        top, other = psi[c], np.delete(psi, c).max()
        top, other = np.clip([top, other], CLAMP, 1 - CLAMP)
        if noise.norm == "l1":
            values.append(float(s) * (top - other))
        else:
            values.append(float(s) / 2 * (stats.norm.ppf(top) - stats.norm.ppf(other)))
    return np.array(values)


def problem(noise, n, classes=5, inputs=12):
    rng = np.random.default_rng(4)
    model = Table(8, classes)
    x = torch.from_numpy(0.5 * rng.normal(size=(inputs, 8)))
    out = np.empty((inputs, n, 8), dtype=np.float32)
    noise.sample(np.random.default_rng(5), out)
    sigma = torch.from_numpy(rng.uniform(0.2, 0.8, size=inputs))
    selected = model(x).argmax(dim=1)
    selected[::2] = (selected[::2] + 1) % classes
    return model, x, torch.from_numpy(out).double(), sigma, selected


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("n", [1, 4])
def test_the_objective_is_equation_2(noise, n):
    model, x, draws, sigma, selected = problem(noise, n)
    noisy = x[:, None] + sigma[:, None, None] * draws
    scores = model(noisy.flatten(0, 1)).view(len(x), n, -1)
    values = radius_objective(scores, sigma, selected, noise).detach().numpy()
    assert values == pytest.approx(objective(model, x, draws, sigma, selected, noise), rel=1e-9)
    assert (values < 0).any()
    assert (values > 0).any()


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("n", [1, 4])
def test_the_slope_is_the_finite_difference_of_the_objective(noise, n):
    model, x, draws, sigma, selected = problem(noise, n)
    base = NoisyClassifier(model, 5, noise)
    slope = radius_slope(base.scores, x, draws, sigma, noise, selected).numpy()
    assert not sigma.requires_grad
    h = 1e-6
    above = objective(model, x, draws, sigma + h, selected, noise)
    below = objective(model, x, draws, sigma - h, selected, noise)
    assert slope == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-7)
    assert np.abs(slope).min() > 1e-3


@pytest.mark.parametrize(
    ("noise", "constant"), [("gaussian", stats.norm.ppf(1 - CLAMP)), ("uniform", 1 - 2 * CLAMP)]
)
def test_inside_the_clamp_the_slope_is_a_constant(noise, constant):
    base = NoisyClassifier(Halfspace([1.0, 0.0]), 2, NOISES[noise])
    x = torch.tensor([[50.0, 0.0], [-80.0, 1.0]], dtype=torch.float64)
    draws = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.tensor([0.3, 0.7], dtype=torch.float64)
    slope = radius_slope(base.scores, x, draws, sigma, base.noise, torch.tensor([0, 1]))
    assert slope.tolist() == pytest.approx([constant] * 2, rel=1e-9)


def ascend(model, x, policy, *, classes=2, selected=0, noise=None, seed=0):
    inputs = Inputs.of(x, seed)
    base = NoisyClassifier(model, classes, noise or Gaussian())
    with frozen(base.model):
        return policy.choose(base, inputs, np.full(len(x), selected)).sigma


def test_a_confident_input_climbs_at_the_rate_of_the_clamp():
    x = torch.tensor([[50.0, 0.0]])
    policy = GradientSigma(0.25, 0.1, 1.0, steps=100, lr=1e-3)
    expected = 0.25 + 100 * 1e-3 * stats.norm.ppf(1 - CLAMP)
    assert ascend(Halfspace([1.0, 0.0]), x, policy) == pytest.approx(expected, rel=1e-6)


def test_the_climb_stops_at_the_highest_scale():
    policy = GradientSigma(0.25, 0.1, 0.3, steps=100, lr=1e-2)
    assert ascend(Halfspace([1.0, 0.0]), torch.tensor([[50.0, 0.0]]), policy) == [0.3]


def test_the_ascent_is_algorithm_1_step_by_step():
    noise, n = Gaussian(), 4
    x, model = inputs_near_boundaries().double(), Table(8, 4)
    inputs, base = Inputs.of(x, 0), NoisyClassifier(model, 4, noise)
    policy = GradientSigma(0.5, steps=5, lr=0.05, n=n)
    selected = model(x).argmax(dim=1)
    sigma = np.full(6, 0.5)
    streams = [inputs.stream(row, "gradient") for row in range(6)]
    for _ in range(5):
        draws = np.empty((6, n, 8), dtype=np.float32)
        for stream, piece in zip(streams, draws, strict=True):
            stream.fill(piece, noise)
        e, h = torch.from_numpy(draws).double(), 1e-6
        up = objective(model, x, e, torch.from_numpy(sigma + h), selected, noise)
        down = objective(model, x, e, torch.from_numpy(sigma - h), selected, noise)
        sigma = np.clip(sigma + 0.05 * (up - down) / (2 * h), 0.125, 2.0)
    chosen = policy.choose(base, inputs, selected.numpy()).sigma
    moved = chosen != 0.5
    assert moved.sum() >= 2
    assert chosen[moved] == pytest.approx(sigma[moved], rel=1e-6)
    assert_start_is_kept_where_the_end_is_no_better(base, inputs, selected, sigma, chosen)


def assert_start_is_kept_where_the_end_is_no_better(base, inputs, selected, end, chosen):
    for row, c in enumerate(selected):
        one = inputs.take([row])
        before, after = (
            estimated_radius(
                base.noise,
                sigma,
                int(base.count_each(one, sigma, CHECK_VOTES, "gradient-check")[0, c]),
                CHECK_VOTES,
            )
            for sigma in (0.5, end[row])
        )
        assert (chosen[row] != 0.5) == (after > before)


def test_the_start_is_kept_where_the_gradient_misleads():
    # Scores that grow with the noise although hard votes do not: the ascent goes up, votes do not.
    def scores(x):
        size = x.norm(dim=1)
        return torch.stack([8 - size, size * 0 + 4 * (size > 3).float()], dim=1)

    x = torch.zeros(1, 2)
    policy = GradientSigma(1.0, 0.5, 8.0, steps=200, lr=0.05, n=8)
    assert ascend(Returns(scores), x, policy) == [1.0]


def test_no_steps_end_at_the_start():
    policy = GradientSigma(0.5, steps=0)
    assert ascend(Table(8, 4), inputs_near_boundaries(), policy, classes=4).tolist() == [0.5] * 6


def test_batch_normalisation_in_training_mode_couples_nothing():
    torch.manual_seed(0)
    model = Normalised().train()
    x = torch.randn(4, 1, 5, 5)
    policy = GradientSigma(0.5, steps=10, lr=0.05, n=2)
    statistics = model.body[1].running_mean.clone()
    together = ascend(model, x, policy, classes=3)
    assert torch.equal(model.body[1].running_mean, statistics)
    alone = [ascend(model, x[row : row + 1], policy, classes=3)[0] for row in range(4)]
    assert together == pytest.approx(alone, rel=1e-5)


def test_the_cost_is_that_of_the_steps_and_the_check():
    assert GradientSigma(0.5, steps=30, n=8).cost == 30 * 8 + 2 * CHECK_VOTES


@pytest.mark.parametrize(
    "options",
    [{"steps": -1}, {"lr": 0.0}, {"lr": float("nan")}, {"n": 0}, {"low": 0.9}, {"high": 0.1}],
)
def test_arguments_that_can_never_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        GradientSigma(0.5, **options)
