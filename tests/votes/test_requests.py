from dataclasses import replace

import numpy as np
import pytest
import torch

from ddrs.errors import InputError
from ddrs.noise.distributions import Gaussian
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.requests import Inputs


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.0]], "got list$"),
        (np.zeros((2, 3), np.uint8), r"got uint8 \[2, 3\]: radii are .* scale pixels .* x / 255"),
        (torch.zeros(2, 3, dtype=torch.uint8), "uint8.*as in x / 255"),
        (np.zeros((2, 3), int), "int64.*make floats of them in the units that radii are to have"),
        (np.zeros((2, 3), object), "object"),
        (np.zeros(3, np.float32), r"float32 \[3\]: one input alone needs a batch axis.* x\[None\]"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
        (torch.zeros(3), r"\[3\]"),
        (torch.zeros(2, 0), "no elements"),
        (torch.tensor([[0.0], [float("nan")]]), r"inputs \[1\]"),
        (torch.tensor([[float("-inf")], [0.0]]), r"inputs \[0\]"),
    ],
)
def test_inputs_that_cannot_be_certified_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Inputs.of(x, seed=0)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_arrays_are_tensors_of_the_same_precision(dtype):
    x = np.array([[0.1, 0.2], [1 / 3, 255.0]], dtype)[:, ::-1]
    x.flags.writeable = False
    ours, theirs = Inputs.of(x, seed=0), Inputs.of(torch.tensor(x.astype(dtype[1:])), seed=0)
    assert ours.x.dtype == theirs.x.dtype
    assert torch.equal(ours.x, theirs.x)
    assert ours.digests == theirs.digests


def test_what_becomes_of_the_callers_tensor_changes_nothing():
    x = torch.ones(2, 3)
    inputs = Inputs.of(x, seed=0)
    x.zero_()
    assert inputs.x.tolist() == [[1.0] * 3] * 2


class Backwards:
    """A source of noise of another kind: -1, -2, -3, ... in every element."""

    def __init__(self, seed, digest, stage, shape):
        self.position = 0

    def fill(self, out, noise):
        for draw in out:
            self.position -= 1
            draw[...] = self.position


def test_noise_may_come_from_a_source_of_another_kind():
    class Signs(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0], -x[:, 0]], dim=1)

    inputs = replace(Inputs.of(torch.tensor([[3.5], [0.5]]), seed=0), source=Backwards)
    classifier = NoisyClassifier(Signs(), 2, Gaussian(), batch_size=2)
    counts = classifier.count_each(inputs, 1.0, 5, "estimation")
    assert counts.tolist() == [[3, 2], [0, 5]]  # x - 1, x - 2, ... is above 0 thrice, never
    assert inputs.take([1]).source is Backwards
