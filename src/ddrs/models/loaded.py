"""A classifier and what is known about it; the simplest comes from an architecture of ours."""

from dataclasses import dataclass

from torch import nn

from ddrs.models.weights import PathLike, load_weights
from ddrs.networks.architectures import build

__all__ = [
    "LoadedModel",
    "from_architecture",
]


@dataclass(frozen=True)
class LoadedModel:
    """A classifier in eval mode, and what is known about it.

    Attributes:
        module: maps `[batch, *shape]` floats in [0, 1] to logits `[batch, num_classes]`.
        num_classes: length of the output, where it is known.
        classes: name of each class, where it is known; several for one are separated by commas.
        sigma: sigma of the noise that the model was trained with, where it is known.
        noise: `"gaussian"` or `"uniform"`, the noise that `sigma` belongs to.
        input_shape: the shape that inputs must have, where there is only one.
        source: the spec that it was loaded from.
    """

    module: nn.Module
    num_classes: int | None = None
    classes: tuple[str, ...] | None = None
    sigma: float | None = None
    noise: str | None = None
    input_shape: tuple[int, ...] | None = None
    source: str = ""


def from_architecture(name: str, weights: PathLike, num_classes: int) -> LoadedModel:
    """A network of `ddrs.networks.architectures` with the weights of a file."""
    module = build(name, num_classes)
    load_weights(module, weights)
    return LoadedModel(module, num_classes)
