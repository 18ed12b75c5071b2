import pytest
import torch

from ddrs.noise.distributions import NOISES
from ddrs.training.examples import ExampleStore
from ddrs.training.validation import noisy_accuracy
from ddrs.training.workers import Workers
from support.classifiers import Halfspace, Normalised
from support.toy_training import same, weights


def examples(count):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return [(row, 0) for row in x]


def accuracy(model, store, ids, sigma, noise="gaussian", batch_size=64, seed=0):
    return noisy_accuracy(
        model, store, ids, Workers(), noise=NOISES[noise], sigma=sigma, batch_size=batch_size,
        seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [7, 64, 5000])
def test_it_is_the_probability_under_noise(batch_size):
    store, model = ExampleStore(examples(2000), 2), Halfspace([0.6, 0.8], 0.3)
    ids = torch.arange(0, 2000, 2)
    x, _ = store.batch(ids)
    clean = (model(x).argmax(1) == 0).double().mean()
    assert accuracy(model, store, ids, 0.0, batch_size=batch_size) == pytest.approx(clean)
    expected = torch.special.ndtr(model.distance(x) / 0.7).mean()
    found = accuracy(model, store, ids, 0.7, batch_size=batch_size)
    assert found == pytest.approx(expected.item(), abs=0.04)
    assert found != clean


def test_noise_is_the_same_every_time_and_another_for_another_seed():
    store, model, ids = ExampleStore(examples(500), 2), Halfspace([1.0, 0.0]), torch.arange(500)
    first = accuracy(model, store, ids, 0.5)
    torch.rand(3)
    assert accuracy(model, store, ids, 0.5) == first
    assert len({accuracy(model, store, ids, 0.5, seed=seed) for seed in range(4)}) > 1
    assert accuracy(model, store, ids, 0.5, noise="uniform") != first


def test_the_model_comes_back_as_it_was():
    model = Normalised().train()
    store = ExampleStore([(torch.rand(1, 4, 4), index % 3) for index in range(20)], 3)
    before = weights(model)
    accuracy(model, store, torch.arange(20), 0.2)
    assert same(weights(model), before)
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())
