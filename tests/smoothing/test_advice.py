"""What is said of arrays that are no pixels in [0, 1], or that a network does not take."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from ddrs.errors import DDRSWarning, ModelError
from ddrs.smoothing.classifier import SmoothedClassifier

PIXELS = torch.linspace(0, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


def smoothed() -> SmoothedClassifier:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return SmoothedClassifier(model, 2, n=200, alpha=0.05, seed=1)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (PIXELS * 255, "inputs reach from 0 to 255: sigma and radii are in these units"),
        (PIXELS * 2 - 1, "inputs reach from -1 to 1: sigma and radii are in these units"),
        (np.round(PIXELS.numpy() * 255).astype(np.float32), "inputs reach from 0 to 255"),
        (PIXELS, None),
        (PIXELS + 0.3 * torch.sin(1e4 * PIXELS), None),
    ],
)
def test_another_scale_is_said_once_and_nothing_is_changed(x, said):
    classifier = smoothed()
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        certificates = classifier.certify(x)
        assert classifier.certify(x) == certificates
        classifier.predict(x)
    assert [str(each.message).startswith(said or "") for each in noted] == [True] * bool(said)
    assert all(each.category is DDRSWarning for each in noted)
    silent = smoothed()
    silent._scale_noted = True
    assert silent.certify(torch.as_tensor(x)) == certificates


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (PIXELS[0], r"if the input is one image, it needs a batch axis: x\[None\]"),
        (PIXELS.movedim(1, 3), r"if the channels come last, move them: x.permute\(0, 3, 1, 2\)"),
        (PIXELS.double().numpy(), "if the network is of float32, give it such inputs"),
    ],
)
def test_what_a_network_does_not_take_comes_with_advice(x, said):
    with pytest.raises(ModelError, match=said) as error:
        smoothed().certify(x)
    assert "\n" not in str(error.value)
