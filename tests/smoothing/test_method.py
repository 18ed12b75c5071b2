"""The ways to certify that there are, each through the contract suite of all."""

import pytest

from ddrs import (
    Cascade,
    GradientSigma,
    Memory,
    Routed,
    SearchSigma,
    SmoothedClassifier,
    Uniform,
)
from smoothing.contract import MethodContract, OwnAndResolveContract
from support.classifiers import Recorder, Table


class TestOneSigma(OwnAndResolveContract):
    def make(self, **options):
        return SmoothedClassifier(Recorder(Table(8, 4)), 4, sigma=0.3, n=900, n0=30, **options)

    def memory(self):
        return Memory("memory://")

    def test_it_stands_alone(self):
        assert self.make().alone


class TestSearch(OwnAndResolveContract):
    def make(self, **options):
        policy = SearchSigma(0.3, votes=200)
        return SmoothedClassifier(Recorder(Table(8, 4)), 4, sigma=policy, n=900, n0=30, **options)

    def memory(self):
        return Memory("memory://")

    def test_it_needs_a_memory(self):
        assert not self.make().alone


class TestAlgorithm1InL1(OwnAndResolveContract):
    def make(self, **options):
        policy = GradientSigma(0.4, steps=8, lr=0.05, n=2)
        options |= {"sigma": policy, "noise": Uniform(), "bound": "two-sided"}
        return SmoothedClassifier(Recorder(Table(8, 4)), 4, n=900, n0=30, **options)

    def memory(self):
        return Memory("memory://", "l1")


class TestSeveralClassifiers(OwnAndResolveContract):
    def make(self, **options):
        models = [Recorder(Table(8, 4, seed=seed)) for seed in range(2)]
        options |= {"sigma": SearchSigma(0.3, votes=200), "selection": "all"}
        return SmoothedClassifier(models, 4, n=900, n0=30, **options)

    def memory(self):
        return Memory("memory://")


class AloneContract(MethodContract):
    def networks(self, method):
        return [each.model for each in method.base.classifiers]

    def test_it_says_whether_its_certificates_hold_together_alone(self, x):
        method = self.make(seed=3)
        assert method.alone
        assert len({one.sigma for one in method.certify(x)}) > 1  # and yet it does


class TestCascade(AloneContract):
    def make(self, **options):
        levels = [(Recorder(Table(8, 4, seed=k)), 1.2 / 3**k, 0.75 - 0.25 * k) for k in range(2)]
        return Cascade(levels, 4, n=900, n0=40, **options)


class TestCascadeOfOneNetworkInL1(AloneContract):
    @pytest.fixture
    def x(self):
        import torch

        return torch.randn(7, 8, generator=torch.Generator().manual_seed(1))

    def make(self, **options):
        network = Recorder(Table(8, 4))
        levels = [(network, 1.5, 0.7), (network, 0.7, 0.6), (network, 0.2, 0.5)]
        return Cascade(levels, 4, noise=Uniform(), bound="two-sided", n=900, n0=40, **options)


class TestRouted(AloneContract):
    def make(self, **options):
        cells = [(Recorder(Table(8, 4, seed=k)), 1.2 / 3**k) for k in range(2)]
        return Routed(Recorder(Table(8, 2, seed=3)), cells, 4, n=900, n0=40, **options)


class TestRoutedOfOneNetworkInL1(AloneContract):
    def make(self, **options):
        network = Recorder(Table(8, 4))
        cells = [(network, 0.3), (network, 0.9), (network, 0.6)]
        options |= {"noise": Uniform(), "bound": "two-sided", "router_sigma": 0.5}
        return Routed(Recorder(Table(8, 3, seed=3)), cells, 4, n=900, n0=40, **options)
