import tracemalloc

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from ddrs.errors import ConfigurationError, ModelError
from ddrs.noise.distributions import Gaussian, Uniform
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs, VoteRequest
from support.classifiers import Halfspace, Recorder, Returns, Table


def batch(count=6, features=8, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator).to(dtype)


def classifier(model=None, classes=4, noise=None, **options):
    return NoisyClassifier(model or Table(8, classes), classes, noise or Gaussian(), **options)


@pytest.mark.parametrize("noise", [Gaussian(), Uniform()])
def test_counts_do_not_depend_on_batch_size_order_or_company(noise):
    inputs = Inputs.of(batch(), seed=5)
    sigma = np.linspace(0.2, 1.2, len(inputs))
    expected = classifier(noise=noise).count_each(inputs, sigma, 300, "estimation")
    assert (expected.sum(axis=1) == 300).all()
    assert (np.count_nonzero(expected, axis=1) > 1).any()
    for size in (1, 7, 512):
        counts = classifier(noise=noise, batch_size=size).count_each(
            inputs, sigma, 300, "estimation"
        )
        assert np.array_equal(counts, expected)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = classifier(noise=noise, batch_size=7).count_each(
        inputs.take(order), sigma[order], 300, "estimation"
    )
    assert np.array_equal(shuffled, expected[order])
    alone = [
        classifier(noise=noise).count_each(inputs.take([row]), sigma[row], 300, "estimation")[0]
        for row in range(len(inputs))
    ]
    assert np.array_equal(alone, expected)


def test_votes_asked_for_in_parts_are_the_votes_asked_for_at_once():
    inputs = Inputs.of(batch(1), seed=5)
    base = classifier(batch_size=16)
    stream = inputs.stream(0, "search")
    parts = sum(base.count(inputs, [VoteRequest(0, 0.7, n, stream)]) for n in (1, 50, 149))
    whole = base.count(inputs, [VoteRequest(0, 0.7, 200, inputs.stream(0, "search"))])
    assert np.array_equal(parts, whole)


def test_stages_and_seeds_vote_independently():
    base = classifier()
    x = batch(40)
    counts = {
        (seed, stage): base.count_each(Inputs.of(x, seed), 0.8, 50, stage)
        for seed in (0, 1, 2**32)
        for stage in ("selection", "estimation", "prediction")
    }
    tables = [table.tobytes() for table in counts.values()]
    assert len(set(tables)) == len(tables)


def test_the_noise_has_the_scale_it_was_asked_for():
    # P(class 0) is known in closed form; the count fails a correct loop once in a million seeds.
    model, x = Halfspace([0.6, 0.8, 0.0], bias=0.1), torch.tensor([[0.2, 0.1, 5.0]])
    inputs, n = Inputs.of(x, seed=0), 200_000
    for noise, sigma, p in [
        (Gaussian(), 0.5, stats.norm.cdf(float(model.distance(x)[0]) / 0.5)),
        (Gaussian(), 2.0, stats.norm.cdf(float(model.distance(x)[0]) / 2.0)),
    ]:
        count = classifier(model, 2, noise).count_each(inputs, sigma, n, "estimation")[0, 0]
        assert stats.binomtest(int(count), n, p).pvalue > 1e-6
    side = Halfspace([1.0, 0.0, 0.0])
    count = classifier(side, 2, Uniform()).count_each(inputs, 0.5, n, "estimation")[0, 0]
    assert stats.binomtest(int(count), n, (1 + 0.2 / 0.5) / 2).pvalue > 1e-6


def test_a_million_votes_take_the_memory_of_one_batch():
    model = Recorder(Halfspace([1.0, 0.0, 0.0, 0.0]))
    base = classifier(model, 2, batch_size=5000)
    inputs = Inputs.of(batch(1, 4), seed=0)
    tracemalloc.start()
    try:
        counts = base.count_each(inputs, 0.5, 1_000_000, "estimation")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counts.sum() == 1_000_000
    assert model.batches == [5000] * 200
    assert peak < 20 * 5000 * 4 * 4  # a few batches of float32; all votes at once are 16 MB


def test_every_batch_but_the_last_is_full_across_inputs():
    model = Recorder(Table(8, 4))
    seen = []
    base = classifier(model, batch_size=64)
    base.on_votes = seen.append
    base.count_each(Inputs.of(batch(5), seed=0), 0.5, 33, "estimation")
    assert model.batches == seen == [64, 64, 37]


def test_ties_go_to_the_lowest_class():
    model = Returns(lambda x: torch.tensor([0.0, 1.0, 1.0]).expand(len(x), 3))
    assert classifier(model, 3).count_each(Inputs.of(batch(1), 0), 1.0, 9, "s").tolist() == [
        [0, 9, 0]
    ]


def test_classes_without_noise():
    x, model = batch(20), Table(8, 4)
    expected = model(x).argmax(dim=1)
    assert np.array_equal(classifier(model, batch_size=7).classify(x), expected)


def test_no_votes_at_no_inputs():
    none = Inputs.of(torch.empty(0, 8), seed=0)
    assert classifier().count_each(none, 0.5, 10, "estimation").shape == (0, 4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Table(5, 4), "failed on a torch.float32 batch of shape"),
        (Table(8, 3), r"scores of shape \[3, 4\].*got \[3, 3\]"),
        (Returns(lambda x: x.new_zeros(len(x), 4, 1)), "got"),
        (Returns(lambda x: (x[:, :4], x)), "got tuple"),
        (Returns(lambda x: x[:, :4] * float("nan")), "NaN"),
        (Recorder(Table(8, 4), limit=0), "out of luck"),
    ],
)
def test_a_model_that_gives_no_scores_is_one_clear_error(model, message):
    with pytest.raises(ModelError, match=message) as caught:
        classifier(model).count_each(Inputs.of(batch(1), 0), 0.5, 10, "estimation")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "resnet"},
        {"classes": 1},
        {"batch_size": 0},
        {"batch_size": "large"},
        {"batch_size": 2.5},
        {"precision": "fp16"},
    ],
)
def test_arguments_that_never_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        classifier(**options)


def test_a_model_that_changed_since_is_refused():
    model = nn.Linear(3, 2)
    classifier = NoisyClassifier(model, 2, Gaussian())
    classifier.check_unchanged()
    before = model.weight.detach().clone()
    model.weight.data[0, 0] += 1
    with pytest.raises(ModelError, match="changed since"):
        classifier.check_unchanged()
    model.weight.data.copy_(before)
    classifier.check_unchanged()


def test_whole_numbers_have_no_gradient():
    classifier = NoisyClassifier(Returns(lambda x: x.long()), 2, Gaussian())
    with pytest.raises(ModelError, match="no gradient: return the scores before"):
        classifier.scores(torch.zeros(1, 2))
