"""What may be amiss with inputs that were given as arrays: their scale, or their axes."""

import warnings

import torch
from torch import Tensor

from ddrs.errors import DDRSError, DDRSWarning, ModelError

__all__ = ["model_advice", "note_scale"]

LOWEST, HIGHEST = -0.5, 1.5  # pixels beyond are of another scale, not of [0, 1] with some noise


def note_scale(x: Tensor) -> bool:
    """Warn of images whose pixels are not in [0, 1]; nothing is changed, nor guessed.

    Args:
        x: `[batch, *input]`, finite.

    Returns:
        Whether there was something to warn of.

    Warns:
        DDRSWarning: there was.
    """
    if not len(x) or not _is_image(tuple(x.shape[1:])):
        return False
    low, high = float(x.min()), float(x.max())
    if low >= LOWEST and high <= HIGHEST:
        return False
    warnings.warn(
        f"inputs reach from {low:.3g} to {high:.3g}: sigma and radii are in these units; for those "
        "of pixels in [0, 1] give such pixels, and scale them in the network's first layer",
        DDRSWarning,
        stacklevel=4,
    )
    return True


def model_advice(error: DDRSError, x: Tensor) -> str:
    """What to try where a model does not take inputs of this kind; empty where that is not it.

    Args:
        error: what came of it.
        x: `[batch, *input]`.
    """
    if not isinstance(error, ModelError):
        return ""
    shape = tuple(x.shape[1:])
    if len(shape) == 2:
        return "; if the input is one image, it needs a batch axis: x[None]"
    if _is_image(shape[::-1]) and not _is_image(shape):
        return "; if the channels come last, move them: x.permute(0, 3, 1, 2)"
    if x.dtype == torch.float64:
        return "; if the network is of float32, give it such inputs: x.float(), x.astype('float32')"
    return ""


def _is_image(shape: tuple[int, ...]) -> bool:
    """Whether one input is `[channels, height, width]`."""
    return len(shape) == 3 and shape[0] in (1, 3)
