"""A model as the training loop runs it: precision and memory layout, and whether it fits."""

import torch
from torch import Tensor, nn

from ddrs.errors import ConfigurationError, ModelError, one_line
from ddrs.networks.frozen import frozen
from ddrs.networks.precision import Precision

__all__ = ["Network", "check_precision", "count_classes"]


class Network(nn.Module):
    """Scores of a model in the inputs' own type, computed in the precision that is asked for.

    Args:
        model: the base classifier, which is shared, not copied.
        precision: `"bf16"` runs it under autocast to bfloat16.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self._bf16 = precision == "bf16"
        # Convolutions on a CPU are a tenth faster and more in this layout.
        self._channels_last = any(isinstance(m, nn.Conv2d) for m in model.modules())
        self._settled = False  # whether the model has been seen to take that layout

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, *input]` to `[batch, classes]`."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._bf16):
            scores = self._run(x)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def _run(self, x: Tensor) -> Tensor:
        scores: Tensor
        if self._channels_last and x.ndim == 4:
            try:
                scores = self.model(x.contiguous(memory_format=torch.channels_last))
                self._settled = True
                return scores
            except RuntimeError:  # a model may insist on the usual layout, by calling `view`
                if self._settled:
                    raise
                self._channels_last = False
        scores = self.model(x)
        return scores


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        ConfigurationError: bfloat16 on a GPU without it.
    """
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise ConfigurationError("this GPU has no bfloat16: use precision fp32")


def count_classes(network: nn.Module, x: Tensor) -> int:
    """The number of scores that the model gives for inputs like `x` `[batch, *input]`.

    The model is only looked at: its weights, buffers and mode stay as they are. As this is its
    first pass, it also settles the memory layout.

    Raises:
        ModelError: it has no weights to train, fails, or does not return one score per class.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError("the model has no weights that can be trained")
    try:
        with frozen(network) as model, torch.no_grad():
            scores = model(x)
    except Exception as error:
        raise ModelError(
            f"the model failed on inputs of shape {list(x.shape[1:])}: {one_line(error)}; choose "
            "one for inputs of this shape"
        ) from error
    if scores.ndim != 2 or len(scores) != len(x) or scores.shape[1] < 2:
        raise ModelError(
            "the model must return scores of shape [batch, classes] for two classes at least, got "
            f"{list(scores.shape)} for a batch of {len(x)}"
        )
    return int(scores.shape[1])
