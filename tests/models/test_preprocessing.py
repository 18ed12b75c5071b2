from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ddrs import models
from support.networks import assert_unchanged
from support.transformer import (
    PROCESSOR,
    STD,
    assert_gives,
    logits,
    normalised,
    save,
    tiny_resnet,
    tiny_vit,
)


@pytest.mark.parametrize("make", [tiny_vit, tiny_resnet])
def test_hf_classifier_sees_normalised_pixels(tmp_path: Path, make: Any) -> None:
    model, x = make(), torch.rand(4, 3, 8, 8)
    spec = save(model, tmp_path / "m", PROCESSOR)
    assert_gives(spec, x, logits(model, normalised(x)))
    loaded = models.load(spec, num_classes=99)
    assert loaded.num_classes == model.config.num_labels
    assert not loaded.module.training
    assert_unchanged(loaded.module.model, model.state_dict())
    assert (logits(model, normalised(x)) - logits(model, x)).abs().max() > 0.01  # it matters


def test_hf_classifier_without_a_processor_sees_the_pixels(tmp_path: Path) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, 8, 8)
    assert_gives(save(model, tmp_path / "m", None), x, logits(model, x))


@pytest.mark.parametrize(
    ("changes", "scale", "normal"),
    [
        ({"rescale_factor": 1 / 127.5}, 2.0, True),
        ({"do_rescale": False}, 255.0, True),
        ({"do_normalize": False}, 1.0, False),
        ({"do_normalize": None}, 1.0, True),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, 2.0, False),
    ],
)
def test_hf_processor_scales(tmp_path: Path, changes: Any, scale: float, normal: bool) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, 8, 8)
    settings = {k: v for k, v in (PROCESSOR | changes).items() if v is not None}
    spec = save(model, tmp_path / "m", settings)
    assert_gives(spec, x, logits(model, normalised(x, scale) if normal else scale * x))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": 8},
        {"do_center_crop": False, "crop_size": 4},
        {"size": {"shortest_edge": 8}},
        {"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 8},
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}},
    ],
)
@pytest.mark.parametrize("shape", [(8, 8), (4, 4), (16, 12)])
def test_hf_input_of_another_size_is_resized(
    tmp_path: Path, changes: Any, shape: tuple[int, int]
) -> None:
    model, x = tiny_vit(), torch.rand(4, 3, *shape)
    spec = save(model, tmp_path / "m", PROCESSOR | changes)
    resized = F.interpolate(x, (8, 8), mode="bilinear", antialias=True)
    assert_gives(spec, x, logits(model, normalised(resized)))


def test_hf_processor_is_part_of_the_buffers(tmp_path: Path) -> None:
    """Memory and certificates tell classifiers apart by their parameters and buffers."""
    model, seen = tiny_resnet(), []
    for i, changes in enumerate([{}, {"size": 9}, {"do_resize": False}, {"image_mean": STD}]):
        spec = save(model, tmp_path / f"m{i}", PROCESSOR | changes)
        buffers = dict(models.load(spec).module.named_buffers())
        seen.append(str({k: v.flatten().tolist() for k, v in buffers.items()}))
    assert len(set(seen)) == 4


def test_hf_classifier_passes_gradients_to_its_input(tmp_path: Path) -> None:
    module = models.load(save(tiny_vit(), tmp_path / "m", PROCESSOR)).module
    x = torch.rand(2, 3, 12, 12, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
