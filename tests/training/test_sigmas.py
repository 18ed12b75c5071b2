import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri, softmax

from ddrs.errors import ConfigurationError
from ddrs.noise.distributions import NOISES
from ddrs.sigma.objective import CLAMP
from ddrs.training.example_sigmas import ascend
from ddrs.training.metrics import histogram
from ddrs.training.sigmas import DataDependent
from support.classifiers import Normalised, Table
from support.toy_training import same, weights

BOUNDS = (0.05, 2.0)


def refine(settings, model, x, sigma, noise, generator, *, start):
    bounds = settings.bounds(start)
    return ascend(model, x, sigma, noise, generator, settings=settings, bounds=bounds)


def radius(model, noise, x, sigma, draws, selected):
    """The estimate for one example from its formula, in NumPy."""
    first, second = model.first.detach().numpy(), model.second.detach().numpy()
    scores = [np.tanh((x + sigma * draw).reshape(-1) @ first) @ second for draw in draws]
    psi = np.mean([softmax(row) for row in scores], axis=0)
    if selected is None:
        selected = int(psi.argmax())
    top, other = psi[selected], np.delete(psi, selected).max()
    top, other = np.clip([top, other], CLAMP, 1 - CLAMP)
    gap = ndtri(top) - ndtri(other) if noise == "gaussian" else 2 * (top - other)
    return sigma / 2 * gap, selected


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("shape", [(3,), (1, 2, 4)], ids=str)
def test_each_scale_takes_the_steps_of_the_formula(noise, steps, n, shape):
    generator = torch.Generator().manual_seed(0)
    model = Table(math.prod(shape), 4)
    x = torch.rand(9, *shape, generator=generator, dtype=torch.float64)
    sigma = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    found = ascend(
        model, x, sigma, NOISES[noise], torch.Generator().manual_seed(1),
        settings=DataDependent(steps=steps, lr=0.3, n=n), bounds=BOUNDS,
    )  # fmt: skip
    expected, drawn = sigma.numpy().copy(), torch.Generator().manual_seed(1)
    for _ in range(steps):
        draws = NOISES[noise].sample_like(x.new_empty(9, n, *shape), drawn).numpy()
        for row in range(9):
            arguments = model, noise, x[row].numpy()
            _, selected = radius(*arguments, expected[row], draws[row], None)
            up, down = (
                radius(*arguments, expected[row] + move, draws[row], selected)[0]
                for move in (1e-6, -1e-6)
            )
            expected[row] += 0.3 * (up - down) / 2e-6
        expected = expected.clip(*BOUNDS)
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-8)
    assert (found != sigma).all()
    assert torch.equal(sigma, torch.linspace(0.1, 0.9, 9, dtype=torch.float64))


def test_the_class_may_be_another_than_the_label_s():
    """It is the one of largest mean softmax: the ascent takes no labels."""
    model = Table(3, 4)
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.full((200,), 0.1, dtype=torch.float64)
    found = ascend(
        model, x, sigma, NOISES["gaussian"], torch.Generator().manual_seed(1),
        settings=DataDependent(lr=1e-3, n=200), bounds=BOUNDS,
    )  # fmt: skip
    assert (found > sigma).float().mean() > 0.8  # a radius that is positive grows with sigma


def test_scales_stay_in_their_bounds():
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.full((50,), 0.25, dtype=torch.float64)
    found = refine(
        DataDependent(lr=100.0, low=0.2, high=0.3),
        Table(3, 4),
        x,
        sigma,
        NOISES["gaussian"],
        torch.Generator().manual_seed(1),
        start=0.25,
    )
    assert set(found.tolist()) == {0.2, 0.3}


def test_a_slope_that_is_not_finite_moves_nothing():
    model = Table(3, 4)
    with torch.no_grad():
        model.second[:] = float("nan")
    sigma = torch.full((4,), 0.25, dtype=torch.float64)
    found = refine(
        DataDependent(),
        model,
        torch.rand(4, 3),
        sigma,
        NOISES["gaussian"],
        torch.Generator(),
        start=0.25,
    )
    assert torch.equal(found, sigma)


class Failing(Normalised):
    def forward(self, x):
        super().forward(x)
        raise RuntimeError("out of luck")


@pytest.mark.parametrize("model", [Normalised(), Failing()], ids=["works", "fails"])
def test_the_model_comes_back_as_it_was(model):
    model.train()
    model.body[1].eval()
    model.head.bias.requires_grad_(False)
    before = weights(model)
    arguments = torch.rand(6, 1, 4, 4), torch.full((6,), 0.25, dtype=torch.float64)
    if isinstance(model, Failing):
        with pytest.raises(RuntimeError, match="out of luck"):
            refine(
                DataDependent(),
                model,
                *arguments,
                NOISES["gaussian"],
                torch.Generator(),
                start=0.25,
            )
    else:
        refine(
            DataDependent(), model, *arguments, NOISES["gaussian"], torch.Generator(), start=0.25
        )
    assert same(weights(model), before)
    assert [module.training for module in model.body] == [True, False, True, True]
    assert [weight.requires_grad for weight in model.head.parameters()] == [True, False]
    assert all(weight.grad is None for weight in model.parameters())


def test_each_example_is_refined_by_itself():
    """Batch normalisation and dropout are idle, so that company does not matter."""
    model, noise = Normalised().double().train(), NOISES["gaussian"]
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.linspace(0.2, 0.4, 6, dtype=torch.float64)
    options = {"settings": DataDependent(lr=0.1, n=2), "bounds": BOUNDS}
    whole = ascend(model, x, sigma, noise, torch.Generator().manual_seed(1), **options)
    x[3:] = 0.5
    changed = ascend(model, x, sigma, noise, torch.Generator().manual_seed(1), **options)
    assert torch.allclose(changed[:3], whole[:3], rtol=0, atol=1e-12)
    assert not torch.allclose(changed[3:], whole[3:], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "warmup", "first"),
    [(200, None, 50), (60, None, 15), (7, None, 1), (3, None, 0), (1, None, 0), (5, 0, 0),
     (5, 4, 4)],
)  # fmt: skip
def test_the_warm_up(epochs, warmup, first):
    assert DataDependent(warmup=warmup).first_epoch(epochs) == first


@pytest.mark.parametrize("warmup", [-1, 5, 6])
def test_a_warm_up_that_never_ends_is_refused(warmup):
    with pytest.raises(ConfigurationError, match="shorter than the 5 epochs"):
        DataDependent(warmup=warmup).check(0.25, 5)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"lr": float("inf")}, {"n": 0}],
)
def test_what_can_never_work_is_refused(options):
    with pytest.raises(ConfigurationError, match="data-dependent training needs"):
        DataDependent(**options)


def test_bounds_and_cost():
    assert DataDependent().bounds(0.5) == (0.125, 2.0)
    assert DataDependent(low=0.4, high=0.6).bounds(0.5) == (0.4, 0.6)
    assert DataDependent(steps=3, n=8).passes == pytest.approx(16)


def test_a_histogram_counts_every_scale_once():
    edges = torch.linspace(0.1, 2.1, 21, dtype=torch.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    sigma = torch.cat([middles, middles[:5], torch.tensor([0.1, 2.1], dtype=torch.float64)])
    assert histogram(sigma, (0.1, 2.1)) == [3, 2, 2, 2, 2, *[1] * 14, 2]
    assert histogram(torch.full((7,), 0.2, dtype=torch.float64), (0.2, 0.2)) == [7]
