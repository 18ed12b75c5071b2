"""Small classifiers whose behaviour under noise is known in closed form."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Halfspace(nn.Module):
    """Class 0 where w . x + b > 0, class 1 elsewhere; further classes never win.

    Under Gaussian noise P(class 0) = Phi((w . x + b) / (sigma |w|)), so the exact l2 radius is the
    distance to the boundary. With w a unit vector, uniform noise of half-width lambda gives
    P(class 0) = (1 + x_0 / lambda) / 2 for |x_0| <= lambda, so the exact l1 radius is |x_0|.
    """

    def __init__(self, weight: Sequence[float], bias: float = 0.0, classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))
        self.rest = classes - 2

    def forward(self, x: Tensor) -> Tensor:
        margin = self.margin(x)
        never = margin.new_full((len(margin), self.rest), -torch.inf)
        return torch.cat([torch.stack([margin, -margin], dim=1), never], dim=1)

    def margin(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float64) @ self.weight.detach() + self.bias.detach()

    def distance(self, x: Tensor) -> Tensor:
        return self.margin(x) / self.weight.detach().norm()


class Ball(nn.Module):
    """Class 0 inside the ball of the given radius around the origin, class 1 outside."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        margin = self.radius - x.flatten(1).norm(dim=1)
        return 20 * torch.stack([margin, -margin], dim=1)


class Collapsing(nn.Module):
    """Class 0 near the origin, class 1 to one side, and class 2 wherever the noise is large.

    At the origin class 0 wins at small sigma; far above it class 2 wins nearly every vote, so a
    search that followed the winning class would end at the largest sigma.
    """

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        size = x.flatten(1).norm(dim=1)
        near = self.radius - size
        side = x.flatten(1)[:, 0] - 10 * self.radius
        return 20 * torch.stack([near, side, size - self.radius], dim=1)


class Table(nn.Module):
    """A smooth classifier with several classes: two float64 layers with fixed random weights."""

    def __init__(self, features: int, classes: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(
            torch.randn(features, 16, generator=generator, dtype=torch.float64)
        )
        self.second = nn.Parameter(
            torch.randn(16, classes, generator=generator, dtype=torch.float64)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1).to(torch.float64) @ self.first) @ self.second


class Recorder(nn.Module):
    """Passes on to another model and notes the rows of every batch; fails after `limit` batches.

    The batches of the check before the first vote are not among them.
    """

    CHECK = (3, 1)
    digest_name = "tests.support.classifiers.Recorder"  # what it has noted is no part of it

    def __init__(self, model: nn.Module, limit: float = float("inf")) -> None:
        super().__init__()
        self.model = model
        self.limit = limit
        self._batches: list[int] = []

    @property
    def batches(self) -> list[int]:
        for start in range(len(self._batches) - 1):
            if tuple(self._batches[start : start + 2]) == self.CHECK:
                return self._batches[:start] + self._batches[start + 2 :]
        return self._batches

    @property
    def rows(self) -> int:
        return sum(self.batches)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.batches) >= self.limit:
            raise RuntimeError("out of luck")
        self._batches.append(len(x))
        return self.model(x)


class Normalised(nn.Module):
    """Convolution, batch normalisation and dropout: every kind of state that must come back."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


class Returns(nn.Module):
    """Returns whatever the given function makes of the batch."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor):
        return self.function(x)
