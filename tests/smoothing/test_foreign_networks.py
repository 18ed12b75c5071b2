"""Networks as people have them, against Cohen's procedure as a plain loop with draws of its own.

A share of votes and the loop's estimate differ by more than 4.5 standard errors with a probability
of 7e-6: for the 50 comparisons here, 4e-4. All seeds are fixed.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import beta, norm
from torch import Tensor, nn

from ddrs import SmoothedClassifier
from ddrs.errors import ModelError

SIDE, CLASSES = 6, 3
SIGMA, N, ALPHA = 0.12, 6000, 0.001
DRAWS, BATCH = 20_000, 2000
STANDARD_ERRORS = 4.5
X = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(11))


class Body(nn.Module):
    """What comes before the head: `[batch, 1, 6, 6]` -> `[batch, width]`."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(self.width, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Convolutions(Body):
    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 16, 3), norm(16)
        self.dropout = nn.Dropout()

    def features(self, x: Tensor) -> Tensor:
        return self.dropout(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Encoder(Body):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(SIDE, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        return self.layer(self.embed(x[:, 0])).mean(1)


class Recurrent(Body):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SIDE, 16, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        return self.lstm(x[:, 0])[1][0][-1]


class Attention(Body):
    width = SIDE

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(SIDE, 2, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        rows = x[:, 0]
        return self.attention(rows, rows, rows)[0].square().mean(1)


class Dense(Body):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(SIDE * SIDE, 16)

    def features(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x.flatten(1)))


class WholeNumbers(Dense):
    """Its scores are of int64, and often equal."""

    def forward(self, x: Tensor) -> Tensor:
        return (6 * super().forward(x)).round().long()


class FixedMean(Dense):
    def __init__(self) -> None:
        super().__init__()
        self.mean = np.linspace(0, 1, SIDE, dtype=np.float32)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x - torch.from_numpy(self.mean))


class Tokens(Body):
    """It cuts pixels to 32 tokens, each with an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(32, 16)

    def features(self, x: Tensor) -> Tensor:
        tokens = (x.flatten(1) * 16 + 8).clamp(0, 31).long()
        return self.table(tokens).mean(1)


class Counting(Dense):
    """It counts its calls, which a digest takes for a change."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def noisy(x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    return x + SIGMA * torch.randn(draws, *x.shape, generator=generator)


def made(kind: Callable[[], Body], scale: float = 4.0) -> Body:
    """A network with large scores that favour no class near the middle of the two inputs."""
    torch.manual_seed(5)
    model = kind().eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        features = model.features(noisy(X.mean(0), 4000, generator))
        model.head.weight *= scale / features.std(0).mean().clamp(min=1e-3)
        model.head.bias -= model.head(features).mean(0)
    return model


def quietly(make: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def weight_normed() -> nn.Module:
    model = made(Dense)
    nn.utils.parametrizations.weight_norm(model.first)
    return model


def quantised() -> nn.Module:
    dense, generator = made(Dense), torch.Generator().manual_seed(8)
    model = nn.Sequential(
        torch.ao.quantization.QuantStub(), nn.Flatten(), dense.first, nn.Tanh(), dense.head,
        torch.ao.quantization.DeQuantStub(),
    ).eval()  # fmt: skip
    model.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    torch.ao.quantization.prepare(model, inplace=True)
    model(noisy(X.mean(0), 1000, generator))
    return torch.ao.quantization.convert(model)


def exported() -> nn.Module:
    rows = {0: torch.export.Dim("rows", min=1)}
    return torch.export.export(made(Dense), (X,), dynamic_shapes=(rows,)).module()


def trained_mode() -> nn.Module:
    return made(Convolutions).train()


@dataclass
class Foreign:
    """A network, and whether it needs `identity`."""

    make: Callable[[], nn.Module]
    identity: str | None = None


ZOO = {
    "convolutions with BatchNorm": Foreign(lambda: made(Convolutions)),
    "left in training mode": Foreign(trained_mode),
    "GroupNorm": Foreign(lambda: made(lambda: Convolutions(lambda width: nn.GroupNorm(4, width)))),
    "transformer encoder": Foreign(lambda: made(Encoder)),
    "LSTM over rows": Foreign(lambda: made(Recurrent)),
    "MultiheadAttention": Foreign(lambda: made(Attention)),
    "half": Foreign(lambda: made(Dense).half()),
    "bfloat16": Foreign(lambda: made(Dense).bfloat16()),
    "float64": Foreign(lambda: made(Dense).double()),
    "whole numbers": Foreign(lambda: made(WholeNumbers)),
    "TorchScript traced": Foreign(lambda: quietly(lambda: torch.jit.trace(made(Dense), X))),
    "TorchScript frozen": Foreign(
        lambda: quietly(lambda: torch.jit.freeze(torch.jit.trace(made(Convolutions), X)))
    ),
    "torch.compile": Foreign(lambda: torch.compile(made(Dense), backend="eager")),
    "DataParallel": Foreign(lambda: nn.DataParallel(made(Dense))),
    "graph": Foreign(lambda: torch.fx.symbolic_trace(made(Convolutions))),
    "exported program": Foreign(exported),
    "with an exported part": Foreign(lambda: nn.Sequential(nn.Dropout(), exported())),
    "quantised statically": Foreign(lambda: quietly(quantised)),
    "weight_norm": Foreign(weight_normed),
    "fixed mean of NumPy": Foreign(lambda: made(FixedMean)),
    "tokens": Foreign(lambda: made(Tokens)),
    "counts its calls": Foreign(lambda: made(Counting), identity="counting 1"),
}


def plain_counts(model: nn.Module, x: Tensor, seed: int) -> np.ndarray:
    """How often each class wins among `DRAWS` noisy copies, by torch alone."""
    generator = torch.Generator().manual_seed(seed)
    kinds = {value.dtype for value in model.parameters()}
    kind = kinds.pop() if len(kinds) == 1 else torch.float32
    counts = np.zeros(CLASSES, dtype=int)
    for _ in range(DRAWS // BATCH):
        with torch.no_grad():
            scores = model(noisy(x, BATCH, generator).to(kind))
        counts += np.bincount(scores.double().numpy().argmax(1), minlength=CLASSES)
    return counts


def standard_errors(count: int, n: int, other: int, draws: int) -> float:
    """How many standard errors two shares are apart."""
    p = (count + other + 0.5) / (n + draws + 1)
    return abs(count / n - other / draws) / np.sqrt(p * (1 - p) * (1 / n + 1 / draws))


def smoothed(model: nn.Module, identity: str | None = None) -> SmoothedClassifier:
    return SmoothedClassifier(
        model, CLASSES, sigma=SIGMA, n=N, alpha=ALPHA, seed=2, identity=identity
    )


@pytest.mark.parametrize("name", ZOO)
def test_a_foreign_network_is_certified_as_by_a_plain_loop(name: str) -> None:
    foreign = ZOO[name]
    model = foreign.make()
    certificates = smoothed(model, foreign.identity).certify(X)
    assert any(certificate.radius > 0 for certificate in certificates)
    if name in ("left in training mode", "with an exported part"):
        assert model.training
        model = nn.Sequential(*model.children())[1] if "part" in name else model.eval()
    for i, certificate in enumerate(certificates):
        counts = plain_counts(model, X[i], seed=100 + i)
        p = counts / DRAWS
        lower = beta.ppf(ALPHA, certificate.count, N - certificate.count + 1)
        if certificate.prediction < 0:
            assert lower <= 0.5
            assert certificate.radius == 0
            apart = [standard_errors(certificate.count, N, each, DRAWS) for each in counts]
            assert min(apart) < STANDARD_ERRORS
            assert p.max() < 0.55
            continue
        other = counts[certificate.prediction]
        assert standard_errors(certificate.count, N, other, DRAWS) < STANDARD_ERRORS
        if p.max() > 0.6:
            assert certificate.prediction == p.argmax()
        assert certificate.radius == pytest.approx(SIGMA * norm.ppf(lower), rel=1e-9)
        assert lower > 0.5


@pytest.mark.parametrize(
    "form",
    [
        lambda model: model,
        lambda model: torch.jit.trace(model, X),
        lambda model: torch.jit.freeze(torch.jit.trace(model, X)),
        lambda model: nn.Sequential(nn.Identity(), torch.jit.script(model)),
        torch.fx.symbolic_trace,
    ],
)
def test_rows_that_share_the_scale_of_their_batch_are_refused(
    form: Callable[[nn.Module], nn.Module],
) -> None:
    """Where one row has the largest values, it is scored alone as in company."""
    model = quietly(
        lambda: form(
            torch.ao.quantization.quantize_dynamic(made(Dense), {nn.Linear}, dtype=torch.qint8)
        )
    )
    with pytest.raises(ModelError, match=r"quantised dynamically.*statically"):
        smoothed(model).certify(X)


def test_a_network_that_works_on_the_pixels_it_is_given_is_told_to_copy_them() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), made(Dense))
    with pytest.raises(ModelError, match=r"let it begin with x = x\.clone"):
        smoothed(model).certify(X - 0.5)


def test_what_a_digest_cannot_cover_is_refused_without_an_identity() -> None:
    with pytest.raises(ModelError, match="identity"):
        smoothed(ZOO["counts its calls"].make()).certify(X)


@pytest.mark.parametrize("kind", ["linear", "convolution and mean"])
def test_linear_networks_meet_their_closed_form(kind: str) -> None:
    """P(class) = Phi(distance / sigma), and no radius beyond the distance to the boundary."""
    torch.manual_seed(7)
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
    if kind != "linear":
        model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    zero = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    double = model.double()
    margin = double(zero)[0, 0] - double(zero)[0, 1]
    (weight,) = torch.autograd.grad(margin, zero)
    x = X.double()
    middle = x.mean(0, keepdim=True)
    x = x - middle - margin.item() * weight / weight.square().sum()  # around the boundary
    distances = ((x * weight).sum((1, 2, 3)) + margin.item()) / weight.norm()
    certificates = SmoothedClassifier(
        model.float(), 2, sigma=SIGMA, n=N, alpha=ALPHA, seed=3
    ).certify(x.float())
    for distance, certificate in zip(distances.tolist(), certificates, strict=True):
        p = norm.cdf(abs(distance) / SIGMA)
        if certificate.prediction < 0:
            p = p if abs(certificate.count / N - p) < abs(certificate.count / N - 1 + p) else 1 - p
        else:
            assert certificate.prediction == int(distance < 0)
            assert certificate.radius <= abs(distance)
        spread = np.sqrt(p * (1 - p) / N)
        assert abs(certificate.count / N - p) < STANDARD_ERRORS * spread
