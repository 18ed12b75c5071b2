"""The ways to certify that there are, each through the contract suite of all."""

from ddrs import GradientSigma, Memory, SearchSigma, SmoothedClassifier, Uniform
from smoothing.contract import OwnAndResolveContract
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
