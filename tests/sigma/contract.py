"""What every sigma policy must do, whatever it is: a policy's test class supplies a factory."""

import numpy as np
import pytest
import torch

from ddrs.networks.frozen import frozen
from ddrs.noise.distributions import NOISES
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs
from support.classifiers import Halfspace, Normalised, Recorder, Table

INITIAL, LOW, HIGH = 0.5, 0.125, 2.0


class SigmaPolicyContract:
    """Inherit, and implement `policy`: the default policy under test, from `INITIAL`."""

    tolerance = 0.0  # between a batch and single inputs: 0 where only hard votes matter

    def policy(self):
        raise NotImplementedError

    @pytest.fixture(params=list(NOISES))
    def noise(self, request):
        return NOISES[request.param]

    def choose(self, noise, *, model=None, classes=4, x=None, seed=3, batch_size="auto", rows=None):
        model = model or Table(8, 4)
        inputs = Inputs.of(inputs_near_boundaries() if x is None else x, seed)
        inputs = inputs if rows is None else inputs.take(rows)
        base = NoisyClassifier(model, classes, noise, batch_size=batch_size)
        with frozen(base.model):
            selected = base.count_each(inputs, INITIAL, 50, "selection").argmax(axis=1)
            return self.policy().choose(base, inputs, selected)

    def test_a_scale_and_a_cost_for_every_input(self, noise):
        choice = self.choose(noise)
        assert (choice.sigma.dtype, choice.sigma.shape) == (np.float64, (6,))
        assert (choice.votes.dtype, choice.votes.shape) == (np.int64, (6,))
        assert ((choice.sigma >= LOW) & (choice.sigma <= HIGH)).all()
        assert (choice.votes <= self.policy().cost).all()

    def test_an_input_s_scale_does_not_depend_on_the_others(self, noise):
        together = self.choose(noise).sigma
        alone = [self.choose(noise, rows=[row]).sigma[0] for row in range(6)]
        assert np.allclose(alone, together, rtol=self.tolerance, atol=0)
        order = [4, 2, 0, 5, 1, 3]
        shuffled = self.choose(noise, rows=order).sigma
        assert np.allclose(shuffled, together[order], rtol=self.tolerance, atol=0)

    def test_the_batch_size_does_not_matter(self, noise):
        expected = self.choose(noise).sigma
        for size in (1, 7):
            sigma = self.choose(noise, batch_size=size).sigma
            assert np.allclose(sigma, expected, rtol=self.tolerance, atol=0)

    def test_the_same_seed_gives_the_same_scale(self, noise):
        assert np.array_equal(self.choose(noise).sigma, self.choose(noise).sigma)

    def test_the_votes_reported_are_the_passes_made(self, noise):
        model = Recorder(Table(8, 4))
        inputs = Inputs.of(inputs_near_boundaries(), seed=3)
        base = NoisyClassifier(model, 4, noise)
        told = []
        base.on_votes = told.append
        choice = self.policy().choose(base, inputs, np.zeros(len(inputs), dtype=np.int64))
        assert choice.votes.sum() == model.rows == sum(told)

    def test_the_model_and_the_policy_are_left_alone(self, noise):
        torch.manual_seed(0)
        model = Normalised().train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        policy = self.policy()
        x = torch.randn(3, 1, 4, 4)
        kept = x.clone()
        base = NoisyClassifier(model, 3, noise)
        with frozen(base.model):
            policy.choose(base, Inputs.of(x, seed=0), np.zeros(3, dtype=np.int64))
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert all(module.training for module in model.modules())
        assert torch.equal(x, kept)
        assert policy == self.policy()

    def test_no_inputs_get_no_scales(self, noise):
        base = NoisyClassifier(Table(8, 4), 4, noise)
        none = Inputs.of(torch.empty(0, 8), seed=0)
        choice = self.policy().choose(base, none, np.zeros(0, dtype=np.int64))
        assert (choice.sigma.shape, choice.votes.shape) == ((0,), (0,))
        assert choice.sigma.dtype == np.float64

    def test_it_says_where_it_starts_and_what_it_costs(self):
        policy = self.policy()
        assert policy.initial == INITIAL
        assert policy.cost >= 0
        assert isinstance(policy.per_input, bool)


class PerInputContract(SigmaPolicyContract):
    """What a policy that really looks at the input must do besides."""

    def test_it_tells_the_radius_that_its_votes_promise(self, noise):
        x = torch.tensor([[0.3, 1.0], [-0.2, 0.0], [0.4, -2.0]])
        choice = self.choose(noise, model=Halfspace([1.0, 0.0]), classes=2, x=x)
        assert (choice.radius.dtype, choice.radius.shape) == (np.float64, (3,))
        distance = x[:, 0].abs().double().numpy()
        # The radius is the same at every scale here, and the luckiest of them is chosen.
        assert ((choice.radius > 0.7 * distance) & (choice.radius < 2 * distance)).all()

    def test_a_class_that_never_wins_promises_no_radius(self):
        base = NoisyClassifier(Halfspace([1.0, 0.0]), 2, NOISES["gaussian"])
        inputs = Inputs.of(torch.tensor([[40.0, 0.0]]), seed=0)
        assert self.policy().choose(base, inputs, np.array([1])).radius.tolist() == [0.0]

    def test_far_from_every_boundary_a_larger_scale_is_found(self):
        x = torch.tensor([[40.0, 0.0], [-40.0, 3.0]])
        choice = self.choose(NOISES["gaussian"], model=Halfspace([1.0, 0.0]), classes=2, x=x)
        assert (choice.sigma > 1.3 * INITIAL).all()

    def test_an_input_whose_class_never_wins_keeps_the_start(self):
        base = NoisyClassifier(Halfspace([1.0, 0.0]), 2, NOISES["gaussian"])
        inputs = Inputs.of(torch.tensor([[40.0, 0.0]]), seed=0)
        choice = self.policy().choose(base, inputs, np.array([1]))
        assert choice.sigma.tolist() == [INITIAL]


def inputs_near_boundaries():
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
