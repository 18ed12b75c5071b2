"""Networks with weights of their own, what it means that two are alike, and a run with one."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ddrs.networks import architectures

RUN = {
    "kind": "train",
    "arch": "digits-cnn",
    "num_classes": 4,
    "input_shape": [1, 8, 8],
    "sigma": 0.25,
    "noise": "gaussian",
}


def trained(num_classes: int = 4, seed: int = 1) -> nn.Module:
    """A network with weights and statistics of its own."""
    torch.manual_seed(seed)
    module = architectures.digits_cnn(num_classes)
    with torch.no_grad():
        module(torch.rand(16, 1, 8, 8))
    return module.eval()


def assert_same(module: nn.Module, other: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> None:
    x = torch.rand(5, *shape)
    with torch.no_grad():
        assert torch.equal(module(x), other(x))


def assert_unchanged(module: nn.Module, before: dict[str, Tensor]) -> None:
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def write_run(path: Path, module: nn.Module | None = None, **changes: Any) -> Path:
    """A finished training run."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(RUN | changes))
    save_file((module or trained()).state_dict(), path / "weights.safetensors")
    return path
