"""Small classifiers of `transformers`, their processor's settings, and what they must give."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from ddrs import models

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
PROCESSOR = {
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_resize": True,
    "size": {"height": 8, "width": 8},
}


def tiny_vit() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=5,
        initializer_range=0.5,
    )
    return transformers.ViTForImageClassification(config).eval()


def tiny_resnet() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3
    )
    model = transformers.ResNetForImageClassification(config)
    model(torch.rand(8, 3, 16, 16))  # in train mode: statistics of its own
    return model.eval()


def save(model: nn.Module, path: Path, settings: dict[str, Any] | None) -> str:
    model.save_pretrained(path)
    if settings is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return f"hf:{path}"


def logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(pixel_values=x).logits


def normalised(x: Tensor, scale: float = 1.0) -> Tensor:
    return torch.stack([(scale * x[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)


def assert_gives(spec: str, x: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(models.load(spec).module(x), expected, rtol=1e-4, atol=1e-5)
