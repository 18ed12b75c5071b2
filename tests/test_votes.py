import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from classifiers import Halfspace, Normalised, Recorder, Returns, Table
from ddrs.errors import ConfigurationError, InputError, ModelError
from ddrs.noise import Gaussian, Uniform
from ddrs.votes import Inputs, NoisyClassifier, VoteRequest, model_digest, pack


def batch(count=6, features=8, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator).to(dtype)


def classifier(model=None, classes=4, noise=None, **options):
    return NoisyClassifier(model or Table(8, classes), classes, noise or Gaussian(), **options)


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 40))
def test_packing_covers_every_request_in_order_in_full_batches(sizes, capacity):
    batches = list(pack(sizes, capacity))
    rows = [index for segments in batches for index, take in segments for _ in range(take)]
    assert rows == [index for index, size in enumerate(sizes) for _ in range(size)]
    assert all(take > 0 for segments in batches for _, take in segments)
    filled = [sum(take for _, take in segments) for segments in batches]
    assert all(rows == capacity for rows in filled[:-1])
    assert all(0 < rows <= capacity for rows in filled)


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
    ("x", "message"),
    [
        (np.zeros((2, 3)), "ndarray"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
        (torch.zeros(3), r"\[3\]"),
        (torch.zeros(2, 0), "no elements"),
        (torch.tensor([[0.0], [float("nan")]]), r"inputs \[1\]"),
        (torch.tensor([[float("-inf")], [0.0]]), r"inputs \[0\]"),
    ],
)
def test_inputs_that_cannot_be_certified_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Inputs.of(x, seed=0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Table(5, 4), "failed on a torch.float32 batch of shape"),
        (Table(8, 3), r"scores of shape \[10, 4\].*got \[10, 3\]"),
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


def test_frozen_gives_the_model_back_as_it_was():
    model = Normalised()
    model.train()
    model.body[1].eval()
    model.head.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    base = classifier(model, 3)
    with base.frozen():
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted
    with pytest.raises(KeyboardInterrupt), base.frozen():
        raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == wanted


def test_the_digest_names_weights_buffers_structure_and_precision():
    torch.manual_seed(0)
    model = Normalised()
    digest = model_digest(model, "fp32")
    assert digest == model_digest(model, "fp32") == model_digest(model.eval(), "fp32")
    assert digest != model_digest(model, "bf16")

    def after(change):
        other = Normalised()
        other.load_state_dict(model.state_dict())
        assert model_digest(other, "fp32") == digest
        change(other)
        return model_digest(other, "fp32")

    assert after(lambda m: m.head.bias.data[0].add_(1e-6)) != digest
    assert after(lambda m: m.body[1].running_mean[0].add_(1e-6)) != digest
    assert after(lambda m: m.body.__setitem__(2, nn.Tanh())) != digest
    assert after(lambda m: m.double()) != digest


def test_a_digest_for_every_kind_of_tensor():
    model = nn.Linear(2, 2).bfloat16()
    model.register_buffer("scalar", torch.tensor(1.0))
    model.register_buffer("nothing", torch.empty(0))
    model.register_buffer("mask", torch.tensor([True, False]))
    digest = model_digest(model, "fp32")
    model.scalar += 1
    assert model_digest(model, "fp32") != digest


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


def test_the_automatic_batch_shrinks_as_inputs_grow():
    base = classifier()
    shapes = [(4,), (3, 32, 32), (3, 64, 64), (3, 224, 224), (3, 1000, 1000)]
    rows = [base.rows_per_batch(shape) for shape in shapes]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[2] > rows[-1] >= 1
    noise = [rows * np.prod(shape) * 4 / 2**20 for rows, shape in zip(rows, shapes, strict=True)]
    assert max(noise[:-1]) < 8  # megabytes of a batch
    assert classifier(batch_size=7).rows_per_batch((3, 224, 224)) == 7


def test_the_digest_sees_settings_that_are_no_tensors():
    layers = [nn.Conv2d(1, 2, 3, stride=stride) for stride in (1, 2)]
    layers[1].load_state_dict(layers[0].state_dict())
    assert model_digest(layers[0], "fp32") != model_digest(layers[1], "fp32")


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


class Viewing(nn.Module):
    """A convolution whose output is flattened by `view`, which the channels-last layout forbids."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 5, 3)
        self.head = nn.Linear(5 * 2 * 2, 4)

    def forward(self, x):
        return self.head(self.body(x).view(len(x), -1))


def test_a_model_that_insists_on_the_usual_layout_gets_it():
    x = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    model = Viewing().eval()
    with pytest.raises(RuntimeError, match="view"):
        model(x.contiguous(memory_format=torch.channels_last))
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(classifier(model).scores(x).detach(), expected)
    counts = classifier(model).count_each(Inputs.of(x, 0), 0.5, 300, "stage")
    assert counts.sum(axis=1).tolist() == [300] * 4


def test_a_module_that_is_used_twice_counts_twice():
    linear, relu = nn.Linear(4, 4), nn.ReLU()
    once, twice = nn.Sequential(linear, relu), nn.Sequential(linear, relu, linear)
    assert model_digest(once, "fp32") != model_digest(twice, "fp32")
