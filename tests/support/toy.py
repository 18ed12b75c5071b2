"""A toy classifier and dataset for whole jobs: `py:support.toy:linear` on `npz:` files."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from support.classifiers import Collapsing, Halfspace

SHAPE = (2, 3)
CLASSES = 3


class Linear(nn.Module):
    """Three linear scores of six features; it can be told to be slow, or to fail after a while."""

    digest_name = "tests.support.toy.Linear"  # how many rows it has scored is no part of it

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(6, CLASSES, generator=generator))
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        self.rows += len(x)
        if self.rows > int(os.environ.get("TOY_FAILS_AFTER", str(10**12))):
            raise RuntimeError("the toy broke")
        return x.flatten(1) @ self.weight


def linear() -> Linear:
    return Linear()


def another() -> Linear:
    return Linear(seed=4)


class Router(Linear):
    """The toy with scores of two cells instead of classes."""

    digest_name = "tests.support.toy.Router"

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :2]


def router() -> Router:
    return Router(seed=5)


def narrow() -> nn.Module:
    """A network with too few classes for the data."""
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 2))


class Wide(Linear):
    """The toy with ten classes, of which seven never win."""

    digest_name = "tests.support.toy.Wide"

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return torch.cat([scores, torch.full((len(x), 7), -1e9)], dim=1)


def wide() -> Wide:
    return Wide()


def halfspace() -> Halfspace:
    """Two classes of points in the unit cube, the plane between them a little off its middle."""
    return Halfspace([3.0, -1.0, 0.5, 2.0, -2.0, 1.0], bias=-1.65)


def across() -> Halfspace:
    """The same with a plane across the first feature, as closed forms of uniform noise need it."""
    return Halfspace([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], bias=-0.5)


def collapsing() -> Collapsing:
    """Class 0 near the origin, class 2 elsewhere and wherever the noise is large."""
    return Collapsing(0.6)


def write_inputs(path: Path, count: int = 12, seed: int = 0, **changes: float) -> str:
    """Write a dataset and give its spec; `changes` sets single values, as in `x3=nan`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *SHAPE)).astype(np.float32)
    scores = x.reshape(count, -1) @ Linear().weight.detach().numpy()
    for name, value in changes.items():
        x[int(name[1:]), 0, 0] = value
    np.savez(path, x=x, y=scores.argmax(axis=1).astype(np.int64))
    return f"npz:{path}"
