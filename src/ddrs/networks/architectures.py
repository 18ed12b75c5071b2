"""Networks that ship with the library: the CIFAR ResNets of He et al. and a small one for digits.

Every network takes pixels in [0, 1]: noise and radii are meant in that space, so normalisation is
the first layer. Its constants are buffers outside the state dict, whose keys are then those of the
public weights of the same networks.

Every class has a `digest_name`: the digest of a classifier names its modules by it, so that stored
certificates and memories know a network wherever its code lies. Never change one.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddrs.errors import ConfigurationError

__all__ = [
    "ARCHITECTURES",
    "CifarResNet",
    "DigitsNet",
    "Normalize",
    "build",
    "digits_cnn",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """`(x - mean) / std` per channel, with constants that move with the module but are not weights.

    Args:
        mean: one value per channel, in the units of the input.
        std: one value per channel, all positive.
    """

    digest_name = "ddrs.architectures.Normalize"
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[batch, channels, height, width]`; ValueError for other channels."""
        if len(self.mean) not in (1, x.shape[-3]):  # one channel would be taken for all of them
            raise ValueError(f"expected {len(self.mean)} channels, got {x.shape[-3]}")
        return (x - self.mean) / self.std


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights (option A of He et al. 2015)."""

    digest_name = "ddrs.architectures._Block"

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.margin = (outputs - inputs) // 2  # zero channels on either side of the shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.margin:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *2 * (self.margin,)))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """ResNet for 32x32 colour images: He et al., arXiv 1512.03385, section 4.2, shortcuts A.

    Args:
        blocks: blocks in each of the three stages; the depth is `6 * blocks + 2`.
        num_classes: length of the output.
    """

    digest_name = "ddrs.architectures.CifarResNet"

    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1], `[batch, 3, height, width]`, to logits `[batch, num_classes]`."""
        out = F.relu(self.bn1(self.conv1(self.normalize(x))))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """The first block halves the image where the number of channels grows."""
    first = _Block(inputs, outputs, stride=1 if inputs == outputs else 2)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


class DigitsNet(nn.Module):
    """Three convolutions, global average pooling and a linear layer, for small grey images.

    The inputs it is meant for, 8x8 digits, are in [0, 1] with mean near 0.3: batch normalisation
    behind the first convolution makes any other normalisation idle.

    Args:
        num_classes: length of the output.
    """

    digest_name = "ddrs.architectures.DigitsNet"

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 16), *_convolution(16, 32, stride=2), *_convolution(32, 48)
        )
        self.linear = nn.Linear(48, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1], `[batch, 1, height, width]`, to logits `[batch, num_classes]`."""
        logits: Tensor = self.linear(self.features(x).mean(dim=(2, 3)))
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def resnet20(num_classes: int = 10) -> CifarResNet:
    """CIFAR ResNet of depth 20."""
    return CifarResNet(3, num_classes)


def resnet32(num_classes: int = 10) -> CifarResNet:
    """CIFAR ResNet of depth 32."""
    return CifarResNet(5, num_classes)


def resnet44(num_classes: int = 10) -> CifarResNet:
    """CIFAR ResNet of depth 44."""
    return CifarResNet(7, num_classes)


def resnet56(num_classes: int = 10) -> CifarResNet:
    """CIFAR ResNet of depth 56."""
    return CifarResNet(9, num_classes)


def resnet110(num_classes: int = 10) -> CifarResNet:
    """CIFAR ResNet of depth 110."""
    return CifarResNet(18, num_classes)


def digits_cnn(num_classes: int = 10) -> DigitsNet:
    """The small network for `[1, 8, 8]` digits."""
    return DigitsNet(num_classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "digits-cnn": digits_cnn,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet44": resnet44,
    "resnet56": resnet56,
    "resnet110": resnet110,
}
"""Name -> factory that takes `num_classes`."""


def build(name: str, num_classes: int = 10) -> nn.Module:
    """Make the named network with fresh random weights.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: length of the output.

    Raises:
        ConfigurationError: the name is unknown, or there is no class.
    """
    if name not in ARCHITECTURES:
        raise ConfigurationError(
            f"unknown architecture {name!r}: use one of {', '.join(ARCHITECTURES)}"
        )
    if num_classes < 1:
        raise ConfigurationError(f"num_classes is {num_classes}: at least one class is needed")
    return ARCHITECTURES[name](num_classes)
