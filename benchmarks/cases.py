"""The networks that are measured, with random weights, and how long each is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the comparing process must stay small: see `worker.peak_mb`
    from torch import Tensor, nn

__all__ = ["CASES", "LONGEST_CALL", "SIGMA", "Case"]

SIGMA = 0.25
LONGEST_CALL = 20.0  # seconds; what takes longer is left out


def _resnet20(num_classes: int) -> nn.Module:
    from ddrs.networks import architectures

    return architectures.resnet20(num_classes)


def _digits_cnn(num_classes: int) -> nn.Module:
    from ddrs.networks import architectures

    return architectures.digits_cnn(num_classes)


def _resnet50(num_classes: int) -> nn.Module:
    """ResNet-50 of He et al. (2015) from transformers: the defaults of its configuration."""
    from torch import nn
    from transformers import ResNetConfig, ResNetForImageClassification

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = ResNetForImageClassification(ResNetConfig(num_labels=num_classes))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.network(pixel_values=x).logits
            return logits

    return Logits()


@dataclass(frozen=True)
class Case:
    """One network and the plan for measuring it.

    Attributes:
        name: a key of `CASES`.
        title: what it is called in tables.
        network: makes the network for a number of classes.
        shape: of one input.
        num_classes: length of the network's output.
        n0: selection votes of one certificate.
        n: estimation votes of one certificate, fewer where the machine is slow (`votes_per_call`).
        batches: batch sizes tried for the bare forward pass.
        trial: seconds for one of these trials.
        window: least seconds of one measurement; whole calls are counted.
        rounds: measurements of every arm, in turn.
        arms: the arms measured, keys of `arms.ARMS`.
        slow: arms that `quick` leaves out.
        growth: (arm, n) pairs whose peak memory is measured, each in a process of its own.
    """

    name: str
    title: str
    network: Callable[[int], nn.Module]
    shape: tuple[int, int, int]
    num_classes: int
    n0: int
    n: int
    batches: tuple[int, ...]
    trial: float
    window: float
    rounds: int
    arms: tuple[str, ...]
    slow: tuple[str, ...] = ()
    growth: tuple[tuple[str, int], ...] = ()

    def quick(self) -> Case:
        """The same, only long enough to see that everything works; its figures are rough."""
        return replace(
            self,
            n=self.n // 5,
            batches=self.batches[1::2],
            trial=self.trial / 4,
            window=self.window / 5,
            rounds=2,
            arms=tuple(arm for arm in self.arms if arm not in self.slow),
            growth=tuple((arm, n // 5) for arm, n in self.growth),
        )

    def votes_per_call(self, rate: float) -> int | None:
        """Estimation votes that fill a window at `rate` forward passes per second.

        None where even the fewest that make a certificate would take more than `LONGEST_CALL`.
        """
        least = self.n0
        if (self.n0 + least) / rate > LONGEST_CALL:
            return None
        return min(self.n, max(least, int(self.window * rate)))

    def build(self) -> nn.Module:
        """The network in evaluation mode, with the same weights every time."""
        import torch

        torch.manual_seed(0)
        return self.network(self.num_classes).eval()

    def inputs(self, count: int = 1) -> Tensor:
        """`[count, *shape]` inputs with values in [0, 1], the same every time."""
        import torch

        generator = torch.Generator().manual_seed(1)
        return torch.rand(count, *self.shape, generator=generator)


BARE = ("bare fp32", "bare bf16")
EAGER = ("ddrs fp32", "ddrs bf16")
COMPILED = ("ddrs compiled fp32", "ddrs compiled bf16")

CASES = {
    case.name: case
    for case in (
        Case(
            name="resnet20",
            title="ResNet-20, 32x32",
            network=_resnet20,
            shape=(3, 32, 32),
            num_classes=10,
            n0=100,
            n=5_000,
            batches=(16, 32, 64, 100, 128, 192, 256, 512),
            trial=0.7,
            window=4.0,
            rounds=7,
            arms=(*BARE, *EAGER, *COMPILED, "toolbox", "toolbox tuned", "ddsmoothing"),
            growth=(
                ("ddrs fp32", 2_000),
                ("ddrs fp32", 50_000),
                ("toolbox", 2_000),
                ("toolbox", 10_000),
            ),
        ),
        Case(
            name="resnet50",
            title="ResNet-50, 224x224",
            network=_resnet50,
            shape=(3, 224, 224),
            num_classes=1000,
            n0=20,
            n=100,
            batches=(1, 4, 8, 16, 32),
            trial=2.0,
            window=7.0,
            rounds=4,
            arms=(*BARE, *EAGER, *COMPILED, "toolbox", "ddsmoothing"),
            slow=COMPILED,
            growth=(
                ("ddrs fp32", 100),
                ("ddrs fp32", 500),
                ("toolbox", 50),
                ("toolbox", 150),
            ),
        ),
        Case(
            name="digits",
            title="digits network, 8x8",
            network=_digits_cnn,
            shape=(1, 8, 8),
            num_classes=10,
            n0=100,
            n=100_000,
            batches=(128, 256, 512, 1024, 2048, 4096),
            trial=0.5,
            window=2.0,
            rounds=7,
            arms=(*BARE, *EAGER, *COMPILED),
        ),
    )
}
