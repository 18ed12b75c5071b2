"""What the image processor of `transformers` does to an input, as a part of the classifier."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddrs.errors import ModelError
from ddrs.files import check_file
from ddrs.networks.architectures import Normalize

__all__ = [
    "SETTINGS_FILE",
    "Preprocessed",
    "read_settings",
]

SETTINGS_FILE = "preprocessor_config.json"


def read_settings(source: str) -> Mapping[str, Any]:
    """The image processor's settings; read here because its class may need torchvision."""
    file = Path(source) / SETTINGS_FILE
    if not Path(source).is_dir():
        from huggingface_hub import errors, hf_hub_download

        try:
            file = Path(hf_hub_download(source, file.name))
        except errors.LocalEntryNotFoundError:  # offline: unknown, and a guess would be silent
            raise
        except errors.EntryNotFoundError:
            return {}
    if not file.exists():
        return {}
    check_file(file)
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return settings


class Preprocessed(nn.Module):
    """A `transformers` classifier behind the resizing and scaling of its image processor.

    An input of another size than the network's is resized to it whole, without cropping.

    Args:
        model: the classifier.
        settings: of its image processor, as `read_settings` gives them.

    Raises:
        ModelError: the settings ask for something that this does not do.
    """

    digest_name = "ddrs.models.preprocessing.Preprocessed"

    def __init__(self, model: nn.Module, settings: Mapping[str, Any]) -> None:
        super().__init__()
        if settings.get("do_flip_channel_order"):
            raise ModelError("the model wants BGR images: wrap it in a py: factory that flips them")
        # The processor counts pixels in 0..255: pixels in [0, 1] arrive `scale` times as large.
        rescale = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1
        scale = 255 * rescale if settings else 1.0
        mean, std = [0.0], [1.0]
        if settings.get("do_normalize", "image_mean" in settings):
            mean, std = settings["image_mean"], settings["image_std"]
        self.size = _network_size(settings)
        # As a buffer too: the size is part of what identifies the classifier.
        self.register_buffer("resized_to", torch.tensor(self.size or (0, 0)), persistent=False)
        self.normalize = Normalize([m / scale for m in mean], [s / scale for s in std])
        self.model = model
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 3, height, width]` in [0, 1] -> logits `[batch, num_classes]`."""
        if self.size is not None and x.shape[-2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        logits: Tensor = self.model(pixel_values=self.normalize(x)).logits
        return logits


def _network_size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the processor hands on, if it changes the size at all."""
    if settings.get("do_center_crop") and "crop_size" in settings:
        size = settings["crop_size"]
    elif settings.get("do_resize") and "size" in settings:
        size = settings["size"]
    else:
        return None
    if isinstance(size, int):
        return size, size
    edge = size.get("shortest_edge")
    return int(size.get("height", edge)), int(size.get("width", edge))
