import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from ddrs.errors import ConfigurationError
from ddrs.networks import architectures

# Trainable parameters with ten classes (He et al. 2015, Table 6, gives them in millions): 464 for
# the stem, 9 * inputs * outputs + 2 * outputs a convolution behind it, 650 for the linear layer.
PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}


def reference_resnet(state: dict[str, Tensor], blocks: int, x: Tensor) -> Tensor:
    """The network of He et al. 2015, section 4.2, written without modules."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        gain, shift = state[f"{key}.weight"], state[f"{key}.bias"]
        x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return x * gain[:, None, None] + shift[:, None, None]

    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    x = ((x.movedim(1, -1) - mean) / std).movedim(-1, 1)
    x = norm(F.conv2d(x, state["conv1.weight"], padding=1), "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            halve = stage > 1 and block == 0
            y = F.conv2d(x, state[f"{key}.conv1.weight"], stride=2 if halve else 1, padding=1)
            y = norm(y, f"{key}.bn1").clamp(min=0)
            y = norm(F.conv2d(y, state[f"{key}.conv2.weight"], padding=1), f"{key}.bn2")
            if halve:  # every other pixel, and as many zero channels before as behind
                zeros = torch.zeros(len(x), x.shape[1] // 2, *y.shape[2:], dtype=x.dtype)
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
            x = (x + y).clamp(min=0)
    return x.flatten(2).mean(2) @ state["linear.weight"].T + state["linear.bias"]


def with_random_statistics(module: nn.Module) -> nn.Module:
    """Fresh batch norms are the identity and would hide a mistake in their use."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = 0.1 * torch.randn_like(part.weight)
            part.running_var = 0.5 + torch.rand_like(part.weight)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
    return module.eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_resnets_have_the_published_size(name: str) -> None:
    module = architectures.build(name)
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[name]
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == int(name.removeprefix("resnet"))


@pytest.mark.parametrize(("name", "blocks"), [("resnet20", 3), ("resnet32", 5)])
def test_resnet_equals_an_independent_forward_pass(name: str, blocks: int) -> None:
    torch.manual_seed(0)
    module = with_random_statistics(architectures.build(name, 7)).double()
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    expected = reference_resnet(module.state_dict(), blocks, x)
    with torch.no_grad():
        torch.testing.assert_close(module(x), expected, rtol=1e-9, atol=1e-9)


def test_resnet_state_has_the_keys_of_the_public_weights() -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "linear.weight", "linear.bias"} | {f"bn1.{key}" for key in norm}
    for stage in (1, 2, 3):
        for block in range(3):
            for part in (1, 2):
                prefix = f"layer{stage}.{block}"
                expected.add(f"{prefix}.conv{part}.weight")
                expected |= {f"{prefix}.bn{part}.{key}" for key in norm}
    assert set(architectures.resnet20().state_dict()) == expected


def test_normalisation_moves_with_the_module_but_is_no_weight() -> None:
    layer = architectures.Normalize([0.5, 0.25], [2.0, 4.0])
    assert not layer.state_dict()
    assert not list(layer.parameters())
    assert layer.to("meta").mean.device.type == "meta"
    layer = architectures.Normalize([0.5, 0.25], [2.0, 4.0])
    x = torch.tensor([[[[1.5]], [[8.25]]]])
    torch.testing.assert_close(layer(x), torch.tensor([[[[0.5]], [[2.0]]]]))


def test_an_input_with_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 channels, got 1"):
        architectures.resnet20()(torch.zeros(1, 1, 8, 8))
    torch.testing.assert_close(
        architectures.Normalize([0.0], [2.0])(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 0.5)
    )


def test_digits_cnn_learns_the_digits() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x))
    train, test = order[:1437], order[1437:]
    module = architectures.digits_cnn()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(4):
        for chosen in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(module(x[chosen]), y[chosen]).backward()
            optimizer.step()
    module.eval()
    with torch.no_grad():
        accuracy = (module(x[test]).argmax(1) == y[test]).float().mean().item()
    assert accuracy > 0.95


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_build_gives_one_logit_a_class(name: str) -> None:
    x = torch.rand(2, 1 if name == "digits-cnn" else 3, 8, 8)
    with torch.no_grad():
        assert architectures.build(name, 3).eval()(x).shape == (2, 3)


def test_build_refuses_what_it_cannot_make() -> None:
    with pytest.raises(ConfigurationError, match="digits-cnn, resnet20"):
        architectures.build("resnet21")
    with pytest.raises(ConfigurationError, match="num_classes is 0"):
        architectures.build("resnet20", 0)
