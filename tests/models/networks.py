"""Networks with weights of their own, and what it means that two are alike."""

import torch
from torch import Tensor, nn

from ddrs import architectures


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
