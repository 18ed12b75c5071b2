import math

import pytest
import torch

from ddrs.errors import ConfigurationError, InputError
from ddrs.networks.noisy import noisy_scores
from ddrs.noise.distributions import NOISES, Gaussian
from ddrs.training.objectives.noisy import smoothed_loss
from ddrs.training.objectives.smoothadv import SmoothAdv, adversarial_examples
from support import objective_reference as reference
from support.classifiers import Normalised, Recorder, Table
from support.distributed import process_group
from support.objective_reference import Network, batch, check_value_and_slopes, drawn, sigmas
from training.objectives.contract import ObjectiveContract


class TestWithPGD(ObjectiveContract):
    def objective(self):
        return SmoothAdv(m=2)


class TestWithDDN(ObjectiveContract):
    def objective(self):
        return SmoothAdv(attack="ddn", m=2, steps=3)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("shape", [(1, 3), (6, 2, 4), (3, 1, 3, 3)], ids=str)
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("attack", ["pgd", "ddn"])
@pytest.mark.parametrize("relative", [False, True])
def test_value_and_gradient_are_those_of_the_formula(noise, shape, m, attack, relative):
    model, (x, y), sigma = Table(math.prod(shape[1:]), 4), batch(shape, 4), sigmas(shape[0])
    draws = drawn(noise, (shape[0], m, *shape[1:]), 1)
    objective = SmoothAdv(attack=attack, epsilon=0.3, steps=3, m=m, relative=relative)
    epsilon = 0.3 * (sigma if relative else torch.ones_like(sigma))
    loss, scores = objective(model, x, y, sigma, noise, torch.Generator().manual_seed(1))
    network = Network(model.first.detach().numpy(), model.second.detach().numpy())
    found = [
        getattr(reference, attack)(
            network,
            x[row].numpy(),
            y[row].item(),
            sigma[row].item(),
            draws[row].numpy(),
            epsilon[row].item(),
            3,
        )
        for row in range(shape[0])
    ]

    def examples(network):  # the attacked inputs are constants of the loss
        return [
            reference.cross_entropy(
                network, found[row], y[row], sigma[row].item(), draws[row].numpy()
            )
            for row in range(shape[0])
        ]

    check_value_and_slopes(model, loss, examples)
    for row in range(shape[0]):
        expected = network.scores(found[row] + sigma[row].item() * draws[row, 0].numpy())
        assert torch.allclose(scores[row], torch.from_numpy(expected), rtol=1e-9)


def images(count):
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(count, 1, 6, 6, generator=generator)
    return x, torch.randint(3, (count,), generator=generator), generator


def test_on_a_network_with_batch_normalisation_it_beats_random_directions():
    torch.manual_seed(3)
    model, (x, y, generator) = Normalised(), images(200)
    for _ in range(20):
        model.train()(2 * x - 0.5)  # statistics to normalise with
    sigma = torch.full((200,), 0.25)
    draws = torch.randn(200, 2, 1, 6, 6, generator=generator)
    found = adversarial_examples(
        model, x, y, sigma, draws, attack="pgd", epsilon=torch.full((200,), 0.5), steps=4
    )
    change = (found - x).flatten(1).norm(dim=1)
    assert (change <= 0.5 * (1 + 1e-6)).all()
    assert 0 <= found.min() <= found.max() <= 1
    random = torch.randn(x.shape, generator=generator)
    random *= (change / random.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    with torch.no_grad():
        model.eval()
        losses = [
            smoothed_loss(noisy_scores(model, point, sigma, draws), y)
            for point in (found, x + random)
        ]
    assert (losses[0] > losses[1]).float().mean() >= 0.97


@pytest.mark.parametrize("attack", ["pgd", "ddn"])
@pytest.mark.parametrize("limit", [math.inf, 0, 1, 2])
def test_the_model_comes_back_as_it_was_also_when_it_raises(attack, limit):
    model = Recorder(Normalised().train(), limit)
    model.model.body[1].eval()
    model.model.head.bias.requires_grad_(False)
    model.model.head.weight.grad = torch.ones_like(model.model.head.weight)

    def state():
        return (
            [(name, module.training) for name, module in model.named_modules()],
            [(name, p.requires_grad, p.grad is None) for name, p in model.named_parameters()],
        )

    x, y, generator = images(4)
    before = state()
    values = {name: value.clone() for name, value in model.state_dict().items()}
    draws = torch.randn(4, 2, 1, 6, 6, generator=generator)
    options = {"attack": attack, "epsilon": torch.full((4,), 0.5), "steps": 3}
    if limit < 3:
        with pytest.raises(RuntimeError, match="out of luck"):
            adversarial_examples(model, x, y, torch.ones(4), draws, **options)
    else:
        adversarial_examples(model, x, y, torch.ones(4), draws, **options)
        assert model.batches == [8, 8, 8]
    assert state() == before
    assert model.model.head.weight.grad.eq(1).all()
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())


def test_it_attacks_also_where_gradients_are_off():
    x, y, generator = images(4)
    draws, options = torch.randn(4, 1, 1, 6, 6, generator=generator), {"attack": "pgd"}
    with torch.no_grad():
        found = adversarial_examples(
            Normalised(), x, y, torch.ones(4), draws, **options, epsilon=torch.ones(4) / 2, steps=2
        )
    assert not torch.equal(found, x)


def test_a_distributed_model_is_attacked_and_trained_like_the_model_itself(tmp_path):
    x, y, _ = images(6)
    sigma, objective = torch.full((6,), 0.25), SmoothAdv(m=2)

    def slope(wrap):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
        wrapped = wrap(model)
        for seed in range(2):  # the second step shows that the first was brought to its end
            generator = torch.Generator().manual_seed(seed)
            objective(wrapped, x, y, sigma, Gaussian(), generator)[0].backward()
        return model[1].weight.grad

    with process_group(tmp_path):
        distributed = slope(torch.nn.parallel.DistributedDataParallel)
    assert torch.allclose(slope(lambda model: model), distributed)


def test_the_radius_warms_up_in_equal_parts():
    objective = SmoothAdv(epsilon=0.5, warmup=4)
    radii = [objective.at_epoch(epoch).epsilon for epoch in range(7)]
    assert radii == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5]
    assert SmoothAdv(epsilon=0.3).at_epoch(0) == SmoothAdv(epsilon=0.3)
    assert objective.at_epoch(1).at_epoch(1) == objective.at_epoch(1)


def test_its_cost_grows_with_draws_and_steps():
    assert SmoothAdv(steps=3, m=2).passes == 2 * (1 + 2)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_inputs_outside_the_unit_cube_are_refused_and_the_model_is_untouched(value):
    model, (x, y) = Table(8, 4).train(), batch((6, 2, 4), 4)
    x[2, 1, 3] = value
    with pytest.raises(InputError, match=r"in \[0, 1\]"):
        SmoothAdv()(model, x, y, sigmas(6), Gaussian(), torch.Generator())
    assert model.training
    assert model.first.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"attack": "magic"},
        {"epsilon": 0.0},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"steps": 0},
        {"attack": "ddn", "steps": 1},
        {"m": 0},
        {"warmup": 0},
    ],
)
def test_hyperparameters_that_can_never_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        SmoothAdv(**options)
