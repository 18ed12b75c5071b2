"""Several classifiers: each input gets the one with the largest radius, and every proof holds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from ddrs import ABSTAIN, GradientSigma, Memory, SearchSigma, SmoothedClassifier
from ddrs.errors import ConfigurationError, ModelError, StoreMismatchError
from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.policy import SigmaChoice
from ddrs.smoothing.alternatives import Alternatives
from ddrs.votes.classifier import NoisyClassifier
from support.classifiers import Halfspace, Recorder, Table

LEFT, DIAGONAL = Halfspace([1.0, 0.0]), Halfspace([0.6, 0.8])  # with their borders through 0
TABLES = [Table(8, 4, seed) for seed in range(3)]
SEARCH = SearchSigma(0.5, votes=400)


def smoothed(models, classes=2, **options):
    settings = {"sigma": SEARCH, "n": 400, "n0": 20, "seed": 0, **options}
    return SmoothedClassifier(models, classes, **settings)


def digests(*models, noise=Gaussian(), classes=2):
    return [NoisyClassifier(model, classes, noise).digest for model in models]


def points(count=12):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("policy", [SEARCH, GradientSigma(0.5, steps=20)])
def test_each_input_gets_the_classifier_whose_border_is_farther(policy):
    x = torch.tensor([[2.0, -1.0], [0.3, 2.0]])  # 2.0 and 0.4 from the borders; 0.3 and 1.78
    first, second = smoothed([LEFT, DIAGONAL], sigma=policy).certify(x)
    assert [first.model_digest, second.model_digest] == digests(LEFT, DIAGONAL)
    assert 0.4 < first.radius < 2.0
    assert 0.3 < second.radius < 1.78
    alone = smoothed(LEFT, sigma=policy).certify(x[:1])[0]
    assert first.count == alone.count  # the same estimation noise
    assert first.votes == 400 + 20 + 2 * policy.cost


def test_one_classifier_in_a_list_is_that_classifier():
    alone, listed = smoothed(TABLES[0], 4), smoothed(TABLES[:1], 4)
    assert listed.certify(points()) == alone.certify(points())
    assert listed.digest == alone.digest == alone.alternatives.classifiers[0].digest


UNSURE = Halfspace([1.0, 0.0], bias=0.05)  # at x = 0: class 0 in 54 % of the votes
SURE = Halfspace([1.0, 0.0], bias=-2.0)  # class 1 in nearly all


def test_all_classifiers_may_select_the_class_together():
    for models in ([UNSURE, SURE], [SURE, UNSURE]):
        classifier = smoothed(models, n0=100, selection="all")
        (certificate,) = classifier.certify(torch.zeros(1, 2))
        assert certificate.prediction == 1
        assert [certificate.model_digest] == digests(SURE)
        assert certificate.votes == classifier.cost == 400 + 2 * (100 + SEARCH.cost)


def test_the_first_classifier_selects_the_class_that_the_others_may_certify():
    x = torch.zeros(1, 2)
    for models, answer in (([UNSURE, SURE], 0), ([SURE, UNSURE], 1)):
        classifier = smoothed(models, n0=2000, n=20_000)
        (certificate,) = classifier.certify(x)
        assert certificate.prediction == answer
        assert [certificate.model_digest] == digests(models[0])  # the other has the other class
        assert certificate.votes == classifier.cost == 22_000 + 2 * SEARCH.cost
    far = Halfspace([0.6, 0.8], bias=1.0)  # class 0, 1 from its border
    (certificate,) = smoothed([UNSURE, SURE, far], n0=2000).certify(x)
    assert (certificate.prediction, certificate.model_digest) == (0, digests(far)[0])
    assert 0.4 < certificate.radius < 1


@pytest.mark.parametrize("selection", ["first", "all"])
@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_neither_batches_nor_order_nor_company_matter(noise, selection):
    x = points()
    options = {"models": TABLES, "classes": 4, "noise": noise, "selection": selection}
    expected = smoothed(**options).certify(x)
    if selection == "all":
        assert len({certificate.model_digest for certificate in expected}) == 3
    assert smoothed(batch_size=7, **options).certify(x) == expected
    assert smoothed(**options).certify(x.flip(0)) == expected[::-1]
    assert [smoothed(**options).certify(x[k : k + 1])[0] for k in range(len(x))] == expected


def test_the_votes_of_all_classifiers_are_counted_and_told():
    models = [Recorder(model) for model in TABLES]
    classifier = smoothed(models, 4)
    told = []
    classifier.on_votes(told.append)
    certificates = classifier.certify(points(), at_radii=[0.1, 0.5])
    assert sum(c.votes for c in certificates) == sum(m.rows for m in models) == sum(told)
    assert all(c.votes <= classifier.cost for c in certificates)


def test_a_certificate_fails_no_more_often_than_alpha_allows():
    """Radii beyond the true one, for two classifiers with the same border; 1e-4 of false alarm."""
    same = Halfspace([2.0, 0.0])  # another digest
    x = torch.full((1, 2), 0.4)
    radii = np.array(
        [
            smoothed([LEFT, same], sigma=SearchSigma(0.5, votes=64), n=100, alpha=0.1, seed=seed)
            .certify(x)[0]
            .radius
            for seed in range(300)
        ]
    )
    failures = int((radii > 0.4).sum())
    assert 0 < failures <= stats.binom.ppf(1 - 1e-4, 300, 0.1)


def test_an_answer_without_a_memory_is_the_chosen_classifier_s():
    x = torch.tensor([[2.0, -1.0], [0.3, 2.0], [-0.3, -2.0]])
    assert smoothed([LEFT, DIAGONAL]).predict(x) == [0, 0, 1]


def test_a_memory_belongs_to_the_classifiers_in_their_order(tmp_path):
    x = points()
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Memory(url) as memory:
        together = smoothed(TABLES, 4, memory=memory).certify(x)
        again = smoothed(TABLES, 4, memory=memory, seed=5).certify(x)
        stored = [k for k, certificate in enumerate(together) if certificate.prediction != ABSTAIN]
        assert len(stored) > 6
        assert [again[k] for k in stored] == [together[k] for k in stored]
        assert memory.audit().ok
        for others in (TABLES[:1], TABLES[:2], TABLES[::-1]):
            with pytest.raises(StoreMismatchError):
                smoothed(others, 4, memory=memory)
    with Memory("memory://") as memory:
        classifier = smoothed(TABLES, 4, memory=memory)
        assert [classifier.certify(x[k : k + 1])[0] for k in range(len(x))] == together


def test_models_come_back_as_they_were_and_a_changed_one_is_noticed():
    models = [Table(8, 4, seed).train() for seed in range(2)]
    classifier = smoothed(models, 4)
    classifier.certify(points(2))
    assert all(model.training and model.first.requires_grad for model in models)
    models[1].second.data.mul_(2)
    with pytest.raises(ModelError, match="the model changed since it was smoothed"):
        classifier.certify(points(2))


@dataclass(frozen=True)
class Silent:
    """A policy that does not say what radius to expect."""

    initial: ClassVar[float] = 0.5
    cost: ClassVar[int] = 0
    per_input: ClassVar[bool] = True

    def choose(self, classifier, inputs, selected):
        return SigmaChoice(np.full(len(inputs), 0.5), np.zeros(len(inputs), np.int64))


def test_what_cannot_choose_is_refused():
    with pytest.raises(ConfigurationError, match="a fixed sigma takes one classifier"):
        smoothed(TABLES, 4, sigma=0.5)
    with pytest.raises(ConfigurationError, match="all different, got 2"):
        smoothed([TABLES[0], Table(8, 4)], 4)
    with pytest.raises(ConfigurationError, match="selection must be one of first, all, got 'sum'"):
        smoothed(TABLES, 4, selection="sum")
    with pytest.raises(ConfigurationError, match="adds up several classifiers"):
        smoothed(TABLES[0], 4, selection="all")
    with pytest.raises(ConfigurationError, match="one or more"):
        Alternatives([], FixedSigma(0.5), 10)
    with pytest.raises(ConfigurationError, match="the model must be a torch"):
        smoothed([TABLES[0], "resnet"], 4)
    with pytest.raises(ConfigurationError, match="whose SigmaChoice has the radius"):
        smoothed(TABLES, 4, sigma=Silent()).certify(points())
    assert len(smoothed(TABLES[0], 4, sigma=Silent()).certify(points())) == 12
