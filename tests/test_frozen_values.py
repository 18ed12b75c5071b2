"""Digests, random draws and counts are what they were, wherever their code has moved to.

Stored certificates, memories and checkpoints depend on them: a value that fails here is no reason
to change this file. `frozen_values.json` was made before the code was first moved.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ddrs
from ddrs.models.preprocessing import Preprocessed
from ddrs.networks.architectures import ARCHITECTURES, Normalize, build
from ddrs.networks.identity import model_digest
from ddrs.noise.distributions import NOISES
from ddrs.noise.keys import key, keyed_generator
from ddrs.noise.streams import Stream
from ddrs.training.splits import split

FROZEN = json.loads((Path(__file__).parent / "frozen_values.json").read_text())
STAGES = ("selection", "estimation", "prediction", "gradient", "search-3", "search-near-5")
KEYS = {
    "order": ("order", 2),
    "views": ("views", 2, 5),
    "ascent": ("ascent", 2, 5),
    "scales": ("scales", 2, 5),
    "noise": ("noise", 2, 5),
    "split": ("split",),
    "validation": ("validation", 5),
}
LAYERS = ("layers", 2, 5, 1)


class Linear(nn.Module):
    """Three float64 scores of four features, written out so that no library rounds them anew."""

    digest_name = "tests.Linear"

    def __init__(self) -> None:
        super().__init__()
        weight = [[2.0, -1.0, 0.0], [0.5, 1.0, -1.0], [-1.0, 0.25, 0.5], [0.0, -0.5, 1.0]]
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(torch.float64) @ self.weight


def zeroed(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def preprocessed() -> nn.Module:
    settings = {"do_normalize": True, "image_mean": [0.5], "image_std": [0.25], "size": 8}
    return Preprocessed(zeroed(nn.Linear(3, 2)), settings)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "normalize", "preprocessed"])
def test_the_digest_of_a_network_is_what_it_was(name: str) -> None:
    others = {"normalize": lambda: Normalize((0.5,), (0.25,)), "preprocessed": preprocessed}
    module = zeroed(others[name]() if name in others else build(name))
    for precision in ("fp32", "bf16"):
        assert model_digest(module, precision) == FROZEN["digests"][name][precision]
    assert model_digest(module, "fp32", compiled=True) == FROZEN["digests"][name]["compiled"]


def test_a_subclass_has_an_identity_of_its_own() -> None:
    class Other(Normalize):
        pass

    digests = [model_digest(kind((0.5,), (0.25,)), "fp32") for kind in (Normalize, Other)]
    assert digests[0] != digests[1]


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("stage", STAGES)
def test_the_first_draws_of_a_stream_are_what_they_were(stage: str, noise: ddrs.Gaussian) -> None:
    stream = Stream(7, "0123abcd", stage, (5,))
    out = np.empty((2, 5), dtype=np.float32)
    stream.fill(out, noise)
    # Logarithms and cosines differ between processors in the last digits.
    assert out.flatten().tolist() == pytest.approx(FROZEN["draws"][stage][noise.name], rel=1e-5)


@pytest.mark.parametrize("purpose", KEYS)
def test_the_first_draws_of_a_training_are_what_they_were(purpose: str) -> None:
    generator = keyed_generator(7, *KEYS[purpose])
    assert torch.randint(2**30, (4,), generator=generator).tolist() == FROZEN["keys"][purpose]


def test_the_key_of_the_layers_and_the_split_are_what_they_were() -> None:
    assert key(7, *LAYERS) == FROZEN["layers"]
    _, held_out = split(20, 5, seed=7)
    assert held_out.tolist() == FROZEN["held_out"]


def fixed() -> dict[str, object]:
    return {"sigma": 0.4, "bound": "two-sided"}


def gradient() -> dict[str, object]:
    policy = ddrs.GradientSigma(0.3, steps=20, lr=0.05, n=4)
    return {"sigma": policy, "noise": ddrs.Uniform(), "memory": ddrs.Memory("memory://", "l1")}


def search() -> dict[str, object]:
    return {"sigma": ddrs.SearchSigma(0.3, votes=400), "memory": ddrs.Memory("memory://")}


@pytest.mark.parametrize("settings", [fixed, gradient, search])
def test_the_counts_of_a_certification_are_what_they_were(
    settings: Callable[[], dict[str, object]],
) -> None:
    smoothed = ddrs.SmoothedClassifier(Linear(), 3, n0=50, n=2000, seed=11, **settings())
    x = torch.linspace(-0.5, 0.7, 24).reshape(6, 2, 2)
    asked = {} if settings is fixed else {"at_radii": (0.05, 0.2)}
    found = [
        {
            "prediction": c.prediction, "outcome": c.outcome, "count": c.count,
            "runner_up": c.runner_up, "n": c.n, "votes": c.votes, "sigma": c.sigma,
            "radius": c.radius, "input_digest": c.input_digest, "model_digest": c.model_digest,
        }
        for c in smoothed.certify(x, **asked)
    ]  # fmt: skip
    expected = [dict(one) for one in FROZEN["certified"][settings.__name__]]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("sigma", "radius"):  # all that can differ between processors
            assert one.pop(name) == pytest.approx(other.pop(name), rel=1e-6)
        assert one == other
