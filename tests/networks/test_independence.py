"""Networks whose votes are not independent are refused before the first one."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddrs import FixedSigma, GradientSigma, SearchSigma, SmoothedClassifier
from ddrs.errors import ModelError
from ddrs.networks.independence import check_independent
from support.classifiers import Halfspace, Normalised, Recorder, Table

CALLS = itertools.count()
X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """A convolution and a linear layer around whatever the given function does to the features."""

    def __init__(self, function) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self, F.relu(self.conv(x))).mean(dim=(2, 3)))


class Kept(nn.BatchNorm2d):
    """Batch normalisation that stays in training, as fine-tuning scripts freeze it wrongly."""

    def train(self, mode: bool = True):
        return super().train(True)


def network(function=lambda self, x: x, **parts) -> Network:
    torch.manual_seed(0)
    made = Network(function)
    for name, part in parts.items():
        setattr(made, name, part)
    return made


class Centred(Network):
    def forward(self, x):
        scores = super().forward(x)
        return scores - scores.mean(dim=0)


class OverBatch(Network):
    def forward(self, x):
        return super().forward(x).softmax(dim=0)


class Writes(Network):
    def forward(self, x):
        return super().forward(x.clamp_(0, 1))


class Place(Network):
    def forward(self, x):
        places = torch.arange(len(x)).view(-1, 1)
        return super().forward(x) + 0.3 * places * torch.tensor([1.0, 0.0, 0.0, -1.0])


class AtFirst(Network):
    def forward(self, x):
        scores = super().forward(x)
        return torch.cat([scores[:1] + torch.tensor([1.0, 0.0, 0.0, -1.0]), scores[1:]])


class AtLast(Network):
    def forward(self, x):
        scores = super().forward(x)
        return torch.cat([scores[:-1], scores[-1:] + torch.tensor([1.0, 0.0, 0.0, -1.0])])


REFUSED = {
    "batch norm without running statistics": (
        lambda: network(lambda s, x: s.norm(x), norm=nn.BatchNorm2d(6, track_running_stats=False)),
        "batch",
    ),
    "batch norm kept in training": (
        lambda: network(lambda s, x: s.norm(x), norm=Kept(6)),
        "changes its buffer norm.running_mean",
    ),
    "functional dropout": (lambda: network(lambda s, x: F.dropout(x)), "second time"),
    "noise": (lambda: network(lambda s, x: x + 0.1 * torch.randn_like(x)), "second time"),
    "counts calls": (lambda: network(lambda s, x: x * (1 + next(CALLS) % 2)), "second time"),
    "logits centred over the batch": (lambda: Centred(lambda s, x: x), "batch"),
    "softmax over the batch": (lambda: OverBatch(lambda s, x: x), "batch"),
    "mean of the batch": (lambda: network(lambda s, x: x - x.mean(dim=0)), "batch"),
    "place in the batch": (lambda: Place(lambda s, x: x), "place"),
    "the first of the batch": (lambda: network(lambda s, x: x - x[:1]), "batch"),
    "the last of the batch": (lambda: network(lambda s, x: x - x[-1:]), "batch"),
    "the row before": (lambda: network(lambda s, x: x - x.roll(1, 0)), "batch"),
    "the row behind": (lambda: network(lambda s, x: x - x.roll(-1, 0)), "batch"),
    "the size of the batch": (lambda: network(lambda s, x: x * len(x)), "batch"),
    "the first place alone": (lambda: AtFirst(lambda s, x: x), "place|batch"),
    "the last place alone": (lambda: AtLast(lambda s, x: x), "place|batch"),
    "writes into its input": (lambda: Writes(lambda s, x: x), "writes into its input"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("policy", [FixedSigma(0.3), SearchSigma(0.3, votes=64)])
def test_a_network_whose_votes_depend_on_each_other_is_refused(name, policy):
    make, message = REFUSED[name]
    smoothed = SmoothedClassifier(make(), 4, sigma=policy, n=100, n0=10, seed=0)
    for call in (smoothed.certify, smoothed.predict, smoothed.own):
        with pytest.raises(ModelError, match=message) as caught:
            call(X)
        assert "votes must be independent" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_one_that_cannot_score_a_row_alone_is_refused():
    def several(self, x):
        if len(x) < 3:
            raise RuntimeError("too few")
        return x

    smoothed = SmoothedClassifier(network(several), 4, n=100, n0=10)
    with pytest.raises(ModelError, match="3 inputs together, but not 1 alone"):
        smoothed.certify(X)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "make",
    [
        network,
        Normalised,
        lambda: network(lambda s, x: s.norm(x), norm=nn.GroupNorm(2, 6)),
        lambda: network(lambda s, x: 1e4 + x),  # large scores that differ little
        lambda: network(lambda s, x: 1e-6 * x),
        lambda: network(lambda s, x: 0 * x),
        lambda: network(lambda s, x: s.norm(x), norm=nn.BatchNorm2d(6)),
        lambda: network(lambda s, x: s.drop(x), drop=nn.Dropout(0.5)),
    ],
)
def test_rounding_is_told_apart(make, precision):
    model = make()
    x, classes = (X[:, :1], 3) if isinstance(model, Normalised) else (X, 4)
    smoothed = SmoothedClassifier(model, classes, n=50, n0=10, precision=precision)
    assert len(smoothed.certify(x)) == 2


def test_scores_of_minus_infinity_are_no_fault():
    smoothed = SmoothedClassifier(Halfspace([1.0, 0.0], classes=4), 4, n=50, n0=10)
    assert len(smoothed.certify(torch.zeros(2, 2))) == 2


def test_a_large_network_of_many_layers_passes():
    torch.manual_seed(0)
    layers = [layer for _ in range(40) for layer in (nn.Linear(64, 64), nn.GELU())]
    deep = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), *layers, nn.Linear(64, 4))
    assert len(SmoothedClassifier(deep, 4, n=50, n0=10).certify(X)) == 2


def test_it_is_made_once_for_each_network_and_shape():
    model = Recorder(Table(8, 4))
    for _ in range(2):
        SmoothedClassifier(model, 4, n=50, n0=10, seed=0).certify(torch.zeros(1, 8))
    assert model._batches[:2] == [3, 1]
    assert sum(model._batches) == 4 + 2 * 60
    SmoothedClassifier(model, 4, n=50, n0=10, seed=0).certify(torch.zeros(1, 2, 4))
    assert sum(model._batches) == 2 * 4 + 3 * 60


def test_another_network_of_the_same_digest_is_checked_itself():
    good, bad = network(), network(lambda self, x: x - x.mean(dim=0))
    first, second = (
        SmoothedClassifier(model, 4, n=50, n0=10, identity="a network") for model in (good, bad)
    )
    assert first.digest == second.digest  # what a function does is not in it
    first.certify(X)
    with pytest.raises(ModelError, match="looks at the batch"):
        second.certify(X)


def test_it_changes_no_count():
    table = Table(8, 4)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    first, second = (
        SmoothedClassifier(table, 4, sigma=GradientSigma(0.3, steps=3), n=300, n0=10, seed=5)
        for _ in range(2)
    )
    assert first.certify(x) == second.certify(x)  # the second finds the network checked


def test_a_compiled_network_is_checked_as_it_is_run():
    pytest.importorskip("openvino")
    smoothed = SmoothedClassifier(
        network(lambda s, x: x - x.mean(dim=0)), 4, n=50, n0=10, compile=True
    )
    with pytest.raises(ModelError, match="looks at the batch"):
        smoothed.certify(X)


def test_the_least_that_is_seen():
    """A thousandth of the range of the scores passes as rounding, ten thousandths do not."""
    rows = torch.linspace(0, 1, 4).view(2, 2)
    for share, refused in ((2e-4, False), (1e-2, True)):

        def scores(batch, share=share):
            return batch * 2 + share * math.sqrt(len(batch))

        if refused:
            with pytest.raises(ModelError, match="looks at the batch"):
                check_independent(scores, rows, "fp32")
        else:
            check_independent(scores, rows, "fp32")


def test_float64_inputs_get_float64_noise():
    """A network that sees the grid of float32 noise would give x and x + 1e-9 other classes."""

    class SeesGrid(nn.Module):
        def forward(self, x):
            on_grid = x == x.float().double()
            return torch.stack([on_grid[:, 0], ~on_grid[:, 0]], dim=1).double()

    smoothed = SmoothedClassifier(SeesGrid(), 2, sigma=0.5, n=1000, n0=50, seed=1)
    x = torch.zeros(1, 4, dtype=torch.float64)
    for point in (x, x + 1e-9):
        (certificate,) = smoothed.certify(point)
        assert certificate.prediction == 1
    assert np.isfinite(certificate.radius)


@pytest.mark.parametrize("masked", [-1e4, -1e9, -math.inf])
def test_a_class_that_is_masked_out_hides_nothing(masked):
    """The range of the scores, by which rounding is told apart, is not that of the mask."""

    class Masked(Network):
        def forward(self, x):
            return super().forward(x).index_fill(1, torch.tensor([3]), masked)

    torch.manual_seed(0)
    drops, alone = Masked(lambda s, x: F.dropout(x)), Masked(lambda s, x: x)
    with pytest.raises(ModelError, match="second time"):
        SmoothedClassifier(drops, 4, n=50, n0=10, seed=0).certify(X)
    assert len(SmoothedClassifier(alone, 4, n=50, n0=10, seed=0).certify(X)) == 2
